"""Makes the pictures of the README: ``python -m tests.house.pictures`` runs the demo, and draws what it has said."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.house.tree import ROOT

FOLDER = ROOT / "docs" / "pictures"
WIDTH = 100
LIMIT_S = 240.0
SHOWN = 4
"""So many of the transfers that went well are shown; the others are a line of dots."""

_STYLES = (
    (r"completed", "green"),
    (r"compensated|were undone", "magenta"),
    (r"[✗†]|kill -9 \d+|dead", "bold red"),
    (r"━+", "green"),
    (r"┄+", "magenta"),
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
    """The same, without most of the transfers that went well."""
    lines: list[str] = []
    well = 0
    for line in said.splitlines():
        well = well + 1 if re.search(r"transfer-\d\d completed$", line) else 0 if not line else well
        if well <= SHOWN or "completed" not in line or not line.startswith("  "):
            lines.append(line)
        elif lines[-1] != "  …":
            lines.append("  …")
    return "\n".join(lines)


def course(said: str) -> str:
    """The drawing of the transfer that hung, out of what the demo says."""
    (drawn,) = re.findall(r"^ +0 s .*\n(?:.*\n){3}", said, re.MULTILINE)
    return f"$ antistrophe show transfer-07\n\n{drawn.rstrip()}"


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
    said = demo()
    (folder / "demo.svg").write_text(picture(f"$ antistrophe demo\n{shortened(said)}", "antistrophe demo"), "utf-8")
    (folder / "course.svg").write_text(picture(course(said), "a step that hung, and what became of it"), "utf-8")


if __name__ == "__main__":
    main()
