"""What the scripts of other libraries share: they run a workflow as often as they are told, line by line, and answer
with its times. They run in an environment of the library's, so this imports nothing but Python's own modules.

A line of stdin is an order (``sagas``, ``at_once``, ``limit_s``), a line of stdout the sample.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

STEPS = ("first", "second", "third")


def serve(work: Callable[[], object], answers: Any) -> None:
    """Run the workflow as often as each line of stdin says, until there are no more."""
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(sample(work, **json.loads(line))), file=answers, flush=True)


def sample(work: Callable[[], object], sagas: int, at_once: int, limit_s: float) -> dict[str, Any]:
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
