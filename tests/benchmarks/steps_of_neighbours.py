"""Steps that misbehave, for the benchmark of what their neighbours notice of it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from antistrophe import ResourceLimits, SagaStep

AT_ONCE_OF_A_NEIGHBOUR = 2


@dataclass(frozen=True)
class Hanging(SagaStep):
    """Hangs until it is killed: it does not heed SIGTERM."""

    timeout_s = 0.3
    kill_grace_s = 0.1
    requires_compensation = False
    max_concurrent = AT_ONCE_OF_A_NEIGHBOUR

    def execute(self) -> None:
        """Hang."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)


@dataclass(frozen=True)
class Crashing(SagaStep):
    """Dies at once, of SIGKILL."""

    requires_compensation = False
    max_concurrent = AT_ONCE_OF_A_NEIGHBOUR

    def execute(self) -> None:
        """Die."""
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Eating(SagaStep):
    """Takes memory until its limit refuses more."""

    requires_compensation = False
    max_concurrent = AT_ONCE_OF_A_NEIGHBOUR
    limits = ResourceLimits(memory_bytes=400 << 20)

    def execute(self) -> None:
        """Take 8 MiB after 8 MiB."""
        taken = []
        while True:
            taken.append(b"x" * (8 << 20))


@dataclass(frozen=True)
class Flooding(SagaStep):
    """Does nothing; there are as many of it as can be started."""

    requires_compensation = False
    max_concurrent = AT_ONCE_OF_A_NEIGHBOUR

    def execute(self) -> None:
        """Do nothing."""
