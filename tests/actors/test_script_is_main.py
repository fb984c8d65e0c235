"""In a step process the script is ``__main__``, as where it was started: pickles and spawned processes rely on that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from antistrophe.linux.termination import processes_of_home

SCRIPT = """
import collections, enum, functools, multiprocessing, pickle, signal, sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, get_type_hints
from antistrophe import SagaDefinition, SagaOrchestrator, SagaStep, Settings, StepResult, on_worker_start, step

with open("loaded", "a") as loaded:
    print(__name__, file=loaded)

class Colour(enum.Enum):
    RED = 1

class Pair(NamedTuple):
    left: "Colour"

Point = collections.namedtuple("Point", "x y")

@dataclass
class Order:
    number: int

    class Line:
        @staticmethod
        def total(number):
            return number

@functools.lru_cache
def cached(number):
    return Order(number)

def double(number):
    return 2 * number

def order(number):
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "a signal that comes at a bad moment would be lost"
    return Order(number)

def everything():
    made = collections.namedtuple("Made", "x")
    assert made.__module__ == "__main__"
    return [Colour.RED, Pair(Colour.RED), Point(1, 2), Order(3), Order.Line, Order.Line.total, cached, double, Multiply,
            noted]

@on_worker_start
def worker():
    return "made"

@dataclass(frozen=True)
class Multiply(SagaStep):
    how: str
    timeout_s = 60.0

    def execute(self, ctx):
        context = multiprocessing.get_context(self.how)
        with context.Pool(2) as pool:
            found = [*pool.map(double, [1, 2]), *[each.number for each in pool.map(order, [3])]]
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found.append(pool.submit(order, 4).result().number)
        process = context.Process(target=double, args=(5,))
        process.start()
        process.join()
        return StepResult([*found, process.exitcode])

    def compensate(self, ctx): ...

@step
def noted(ctx, name: str):
    import __main__
    assert __main__ is sys.modules["__main__"] and __main__.Order is Order
    assert __main__.__file__ == __file__ and __main__.__spec__ is None and __name__ == "__main__"
    assert get_type_hints(Pair) == {"left": Colour}
    assert ctx.worker["worker"] == "made"
    with open("app.pickle", "rb") as given:
        assert pickle.load(given)[3] == Order(3)
    with open("step.pickle", "wb") as kept:
        pickle.dump(everything(), kept)

@noted.compensation
def _(ctx): ...

if __name__ == "__main__":
    with open("app.pickle", "wb") as given:
        pickle.dump(everything(), given)
    with SagaOrchestrator("home", settings=Settings(drain_s=0.3)) as orchestrator:
        for how in sys.argv[1:]:
            print(orchestrator.start(SagaDefinition(how).add_step(Multiply(how))).outputs(60.0))
        orchestrator.execute(SagaDefinition("noted").add_step(noted("it")))
    with open("step.pickle", "rb") as kept:
        assert pickle.load(kept)[:4] == everything()[:4]
    with open("step.pickle", "rb") as kept, open("app.pickle", "rb") as given:
        assert kept.read() == given.read()
"""

MODULE = """
import multiprocessing, sys
from dataclasses import dataclass
from antistrophe import SagaDefinition, SagaOrchestrator, SagaStep, Settings, StepResult

def double(number):
    return 2 * number

@dataclass(frozen=True)
class Multiply(SagaStep):
    timeout_s = 60.0

    def execute(self, ctx):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return StepResult(pool.map(double, [1, 2]))

    def compensate(self, ctx): ...

if __name__ == "__main__":
    with SagaOrchestrator("home", settings=Settings(drain_s=0.3)) as orchestrator:
        print(orchestrator.start(SagaDefinition("saga").add_step(Multiply())).outputs(60.0))
"""


def run(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert processes_of_home(folder / "home") == []
    return ran.stdout


@pytest.mark.timeout(120)  # each process that is spawned imports the script anew
def test_a_step_of_the_script_pickles_and_spawns(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    said = run(tmp_path, "script.py", "spawn", "forkserver", "fork")
    assert said.count("{'Multiply': [2, 4, 3, 4, 0]}") == 3
    names = (tmp_path / "loaded").read_text().split()
    assert names[0] == "__main__"
    assert set(names[1:]) == {"__antistrophe_main__", "__mp_main__"}, "the guarded part runs nowhere else"


@pytest.mark.parametrize("arguments", [("-m", "shop.multiply"), ("main.py",)], ids=["with -m", "imported"])
@pytest.mark.timeout(120)
def test_a_step_of_a_module_spawns(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "multiply.py").write_text(MODULE)
    guarded = MODULE[MODULE.index("if __name__") :]
    imports = "from antistrophe import SagaDefinition, SagaOrchestrator, Settings\nfrom shop.multiply import Multiply\n"
    (tmp_path / "main.py").write_text(imports + guarded)
    assert run(tmp_path, *arguments) == "{'Multiply': [2, 4]}\n"
