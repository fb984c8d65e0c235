"""An application with a host of its own, to be killed: it starts one saga whose step hangs, and waits."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from antistrophe import SagaOrchestrator, Settings
from tests.actors.staging import Stage


def main() -> None:
    """Arguments: the home, the URL of the journal, the folder of the effects, the saga's id and ``lease_s``."""
    home, url, folder, saga_id, lease_s = sys.argv[1:]
    stage = Stage(Path(folder))
    settings = Settings(host_name="killed", lease_s=float(lease_s))
    with SagaOrchestrator(home, settings=settings, journal=url) as orchestrator:
        orchestrator.start(stage.saga(stage.act("a", "hang"), saga_id=saga_id))
        signal.pause()


if __name__ == "__main__":
    main()
