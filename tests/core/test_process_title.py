"""What ps shows of a process is its role and home, and nothing else of the process changes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import os, sys
from antistrophe.linux.process_title import set_title
role, home = sys.argv[1:3]
set_title(role, home)
set_title(role, home)
print(open("/proc/self/cmdline", "rb").read().rstrip(b"\\0").decode())
print(open("/proc/self/comm").read().strip())
print(open("/proc/self/environ", "rb").read().split(b"\\0")[0].decode(), sys.argv[1] == role, len(sys.orig_argv) > 3)
"""


def shown(role: str, home: str, *more: str) -> list[str]:
    env = {"FIRST": "kept", **os.environ}
    ran = subprocess.run(
        [sys.executable, "-c", CODE, role, home, *more], env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("home", ["/tmp/home", "/tmp/Straße 漢字", "/" + "x" * 3000], ids=["plain", "unicode", "long"])
def test_the_title_is_the_role_and_the_home(home: str) -> None:
    assert shown("supervisor", home) == [f"antistrophe supervisor {home}", "as-supervisor", "FIRST=kept True True"]


def test_a_title_that_does_not_fit_is_cut_and_the_environment_stays() -> None:
    code = CODE.replace("role, home = sys.argv[1:3]", 'role, home = sys.argv[0], "/" + "x" * 100_000')
    env = {"FIRST": "kept", **os.environ}
    ran = subprocess.run([sys.executable, "-c", code, "a"], env=env, capture_output=True, text=True, check=True)
    title, _, rest = ran.stdout.splitlines()
    assert title.startswith("antistrophe ")
    assert len(title) < 10_000
    assert rest.startswith("FIRST=kept ")
