"""What a host learns of the owners of sagas: whose sagas there are, and what it has claimed."""

from __future__ import annotations

from dataclasses import dataclass

from antistrophe.records import SagaStatus


@dataclass(frozen=True, slots=True)
class ClaimedSaga:
    """A saga that a host owns now. ``token`` goes into each of its appends."""

    saga_id: str
    token: int
    status: SagaStatus


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose unfinished sagas there are: ``free`` owners hold no lease (any more), ``full`` ones start nothing now.
    ``nobody``: some sagas have no owner."""

    free: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    nobody: bool = False

    @property
    def have_free(self) -> bool:
        """Whether there are sagas that may be claimed."""
        return bool(self.free) or self.nobody
