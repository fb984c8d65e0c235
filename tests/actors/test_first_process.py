"""An application to which orphans fall, as to the first process of a container, leaves no zombie of its system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Takes orphans, opens a home three times, kills everything of it once, and prints the children that it has at the end.
# One of them is a program of its own, which it has not waited for.
PROGRAM = """
import json, os, subprocess, sys, time
from antistrophe import SagaDefinition, SagaOrchestrator, Settings
from antistrophe.linux.process import become_subreaper
from antistrophe.linux.procfs import all_stats
from tests.actors.steps_rude import NoteBegin
from tests.killing import kill_all

become_subreaper()
own = subprocess.Popen(["true"])
home, folder = sys.argv[1:]
for life in range(3):
    with SagaOrchestrator(home, settings=Settings(drain_s=0.3)) as system:
        system.execute(SagaDefinition(f"life-{life}").add_step(NoteBegin(folder, "began")))
        if life == 1:
            kill_all(home)
            system.execute(SagaDefinition("after").add_step(NoteBegin(folder, "began")))
me = os.getpid()
children = [pid for pid, stat in all_stats() if stat.parent == me]
print(json.dumps([children == [own.pid], len(children)]))
own.wait()
"""


def test_nothing_is_left_of_any_life_of_the_system(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "home"), str(tmp_path)]
    told = subprocess.run(program, env=environment, stdout=subprocess.PIPE, check=True, timeout=50)
    assert json.loads(told.stdout) == [True, 1]
