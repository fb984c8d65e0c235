"""An application, run as a program and killed: starts sagas, says which were acknowledged, and waits for their end."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from antistrophe import SagaOrchestrator, Settings
from tests.actors.staging import Stage
from tests.chaos.sample_sagas import sagas_of


def main() -> None:
    """Called with the folder, the seed and the number of the sagas."""
    folder, seed, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    sagas = sagas_of(Stage(folder), number, random.Random(seed))
    with SagaOrchestrator(folder / "home", settings=Settings(drain_s=0.3, max_step_processes=4)) as orchestrator:
        for saga in sagas:
            orchestrator.start(saga, if_live="join")
            os.write(1, f"{saga.id}\n".encode())
        orchestrator.wait_idle()


if __name__ == "__main__":
    main()
