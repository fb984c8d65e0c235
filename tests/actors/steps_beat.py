"""A program that a step starts: it writes beats until somebody kills it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.actors import effects

    log, saga, step, attempt, note, *back = sys.argv[1:]
    effects.write(log, "beat", saga, step, int(attempt), note=note, back=bool(back), sync=False)
    os.write(1, b".")
    while True:
        effects.write(log, "beat", saga, step, int(attempt), note=note, back=bool(back), sync=False)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
