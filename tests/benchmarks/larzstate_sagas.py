"""Runs workflows of three trivial steps with larzstate and its file store, in the folder that is its argument (see
``peer_sagas``)."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

from larzstate import FileStore, Workflow

from tests.benchmarks.peer_sagas import STEPS, serve


def step(_context: dict[str, Any]) -> None:
    """Do nothing."""


def main() -> None:
    """Serve until stdin ends."""
    workflow = Workflow("trivial", store=FileStore(str(Path(sys.argv[1], "larzstate"))))
    for name in STEPS:
        workflow.step(step, name=name).compensate(step)
    serve(lambda: workflow.run(uuid.uuid4().hex), sys.stdout)


if __name__ == "__main__":
    main()
