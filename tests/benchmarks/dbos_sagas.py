"""Runs workflows of three trivial steps with DBOS: on SQLite in the folder that is its argument, or on PostgreSQL where
that is the URL of a database. See ``peer_sagas``."""

from __future__ import annotations

import sys
from pathlib import Path

from dbos import DBOS

from tests.benchmarks.peer_sagas import STEPS, serve


def step(name: str) -> str:
    """Do nothing."""
    return name


def workflow() -> None:
    """Three steps, one after another."""
    for name in STEPS:
        DBOS.run_step({"name": name}, step, name)


def main() -> None:
    """Serve until stdin ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what DBOS prints is no answer
    place = sys.argv[1]
    url = place if place.startswith("postgresql:") else f"sqlite:///{Path(place, 'dbos.db')}"
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})
    work = DBOS.workflow()(workflow)
    DBOS.launch()
    serve(work, answers)
    DBOS.destroy()


if __name__ == "__main__":
    main()
