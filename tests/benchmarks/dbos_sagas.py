"""Three trivial steps as a DBOS workflow on SQLite: orders as lines of JSON on stdin, samples as such on stdout.

Run by ``bench_sagas`` with the Python of an environment that has `dbos`: it imports nothing of antistrophe.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dbos import DBOS


def step(name: str) -> str:
    """Do nothing."""
    return name


def workflow() -> None:
    """Three steps, one after another."""
    for name in ("first", "second", "third"):
        DBOS.run_step({"name": name}, step, name)


def sample(work: Any, sagas: int, at_once: int, limit_s: float) -> dict[str, Any]:
    """So many workflows, so many at once; after ``limit_s`` nothing more is begun."""
    begun, cpu = time.perf_counter(), time.process_time()

    def one(_: int) -> float | None:
        start = time.perf_counter()
        if start - begun > limit_s:
            return None
        work()
        return time.perf_counter() - start

    with ThreadPoolExecutor(at_once) as threads:
        each = [taken for taken in threads.map(one, range(sagas)) if taken is not None]
    return {
        "each_s": each,
        "total_s": time.perf_counter() - begun,
        "cpu_s": {"its one process": time.process_time() - cpu},
    }


def main() -> None:
    """Serve until stdin ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what DBOS prints is no answer
    url = f"sqlite:///{Path(sys.argv[1], 'dbos.db')}"
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})
    work = DBOS.workflow()(workflow)
    DBOS.launch()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(sample(work, **json.loads(line))), file=answers, flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
