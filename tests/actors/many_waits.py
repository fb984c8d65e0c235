"""An application whose calls wait all at once: so many that a descriptor for each would be too many.

Run as ``python -m tests.actors.many_waits HOME NAME CALLS KIND``; it writes how its calls ended, as JSON. KIND is
``threads`` or ``tasks``, the latter of one asyncio loop.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from antistrophe import AsyncSagaOrchestrator, SagaDefinition, SagaOrchestrator, SagaStep

PATIENCE_S = 180.0


@dataclass(frozen=True)
class Gate(SagaStep):
    """Waits until a file is there."""

    path: str
    timeout_s: float = PATIENCE_S
    requires_compensation: bool = False

    def execute(self) -> None:
        while not Path(self.path).exists():
            time.sleep(0.02)


def saga(home: str, name: str, number: int) -> SagaDefinition:
    """One that ends when there is a file ``gate`` beside the home."""
    return SagaDefinition(f"{name}-{number}", name="gate").add_step(Gate(f"{home}.gate"))


def by_threads(home: str, name: str, calls: int) -> Counter[str]:
    """Each call in a thread of its own."""
    with SagaOrchestrator(home) as orchestrator, ThreadPoolExecutor(calls) as threads:

        def call(number: int) -> str:
            try:
                return repr(orchestrator.execute(saga(home, name, number), timeout_s=PATIENCE_S))
            except Exception as error:
                return repr(error)

        return Counter(threads.map(call, range(calls)))


async def by_tasks(home: str, name: str, calls: int) -> Counter[str]:
    """Each call in a task."""
    async with AsyncSagaOrchestrator(home) as orchestrator:
        waits = (orchestrator.execute(saga(home, name, number), timeout_s=PATIENCE_S) for number in range(calls))
        return Counter(map(repr, await asyncio.gather(*waits, return_exceptions=True)))


def main() -> None:
    home, name, calls, kind = sys.argv[1:]
    ended = by_threads(home, name, int(calls)) if kind == "threads" else asyncio.run(by_tasks(home, name, int(calls)))
    sys.stdout.write(json.dumps(ended))


if __name__ == "__main__":
    main()
