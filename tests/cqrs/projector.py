"""A process that follows a store with one projection: ``python -m tests.cqrs.projector FILE KIND [rebuild]``.

With ``rebuild`` it rebuilds the projection again and again instead.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from antistrophe.cqrs.projection_registry import ProjectionRegistry
from antistrophe.eventstore.store import EventStore
from tests.cqrs import totals


def main(file: str, kind: str, rebuild: bool) -> None:
    with EventStore(Path(file)) as store, ProjectionRegistry(store, checkpoint_s=0.001) as registry:
        registry.register("totals", getattr(totals, kind))
        while rebuild:
            registry.rebuild("totals")
        registry.start_subscription()
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "rebuild" in sys.argv)
