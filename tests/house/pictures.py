"""Makes the pictures of the README: ``python -m tests.house.pictures`` runs the demo and one of its transfers, and
draws what the demo says, and the timeline of that transfer."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from antistrophe import SagaError, SagaOrchestrator
from antistrophe.cli.demo_steps import open_bank, transfer
from antistrophe.client.stored_home import stored_journal, stored_place
from antistrophe.narration.timeline import timeline_of
from antistrophe.narration.timeline_picture import timeline_picture
from tests.house.tree import ROOT

FOLDER = ROOT / "docs" / "pictures"
WIDTH = 100
LIMIT_S = 240.0
PAUSE_S = 0.25
SHOWN = 4
"""So many transfers that went well are shown after one another; the others are a line of dots."""

SHOWN_BACK = 2
"""So many that were interrupted are shown."""

UNDO = "#ae81ff"

_STYLES = (
    (r"completed", "green"),
    (r"compensated|were undone", UNDO),
    (r"[✗†]|kill -9 \d+", "bold red"),
    (r"━+", "green"),
    (r"┄+", UNDO),
    (r"was in doubt", "yellow"),
    (r"no coin was lost, and none was made", "bold green"),
    (r"(?m)^\$ .*", "bold"),
    (r"\d\d:\d\d:\d\d\.\d{3}", "dim"),
)


def demo() -> str:
    """What the demo says in a pipe."""
    command = [sys.executable, "-m", "antistrophe", "demo"]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout


def shortened(said: str) -> str:
    """The same, without most of the transfers that went well or were interrupted, and folded where a line is too long
    for the picture."""
    lines: list[str] = []
    seen = {"completed": 0, "interrupted": 0}
    for line in said.splitlines():
        ended = re.search(r"transfer-\d\d (?:(completed)$|compensated: .* was (interrupted))", line)
        kind = ended and (ended[1] or ended[2])
        if not line:
            seen = dict.fromkeys(seen, 0)
        elif kind:
            seen[kind] += 1
        if kind and seen[kind] > (SHOWN if kind == "completed" else SHOWN_BACK):
            lines += ["  …"] if lines[-1] != "  …" else []
        else:
            lines += folded(line)
    return "\n".join(lines)


def folded(line: str) -> list[str]:
    """The lines that it takes on the picture; what is below the first stands below its beginning, after its time."""
    begins = re.match(r" *(\d\d:\d\d:\d\d\.\d{3} +)?", line)
    assert begins is not None
    rest, below = line[len(begins[0]) :], " " * len(begins[0])
    wrapped = textwrap.wrap(rest, WIDTH, initial_indent=begins[0], subsequent_indent=below)
    return wrapped if len(line) > WIDTH else [line]


def course(folder: Path) -> str:
    """The timeline of a transfer of the demo that hangs, as SVG."""
    bank = str(folder / "bank.db")
    open_bank(bank)
    with SagaOrchestrator(folder / "home") as orchestrator, contextlib.suppress(SagaError):
        orchestrator.execute(transfer(bank, 1, pause_s=PAUSE_S, hangs=False))  # the processes are warm after it
        orchestrator.execute(transfer(bank, 7, pause_s=PAUSE_S, hangs=True))
    with stored_journal(stored_place(folder / "home")) as journal:
        timeline = timeline_of(journal.load("transfer-07"), time.time())
    assert timeline is not None
    return timeline_picture(timeline, "a step that hung, and what became of it", alone=True)


def picture(text: str, title: str, width: int = WIDTH) -> str:
    """The text on a terminal, as SVG."""
    shown = Text(text)
    for pattern, style in _STYLES:
        shown.highlight_regex(pattern, style)
    console = Console(record=True, width=width, file=Path("/dev/null").open("w"), force_terminal=True)  # noqa: SIM115
    console.print(shown)
    console.file.close()
    return console.export_svg(title=title, theme=MONOKAI)


def main(folder: Path = FOLDER) -> None:
    """Write both pictures."""
    folder.mkdir(exist_ok=True)
    (folder / "demo.svg").write_text(picture(f"$ antistrophe demo\n{shortened(demo())}", "antistrophe demo"), "utf-8")
    with tempfile.TemporaryDirectory(prefix="bank-") as place:
        (folder / "course.svg").write_text(course(Path(place)), "utf-8")


if __name__ == "__main__":
    main()
