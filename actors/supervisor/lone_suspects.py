"""Attempts that have taken the whole system along run one at a time, so that the next death says which it was."""

from __future__ import annotations

from antistrophe.messages import RequestLease


class LoneSuspects:
    """Which saga's suspect has the turn, and which wait for theirs, in the order in which they came."""

    def __init__(self) -> None:
        self._alone: str | None = None
        self._waiting: dict[str, RequestLease] = {}

    def may_go(self, message: RequestLease) -> bool:
        """Whether no other suspect has the turn. Else it waits."""
        if self._alone is None or self._alone == message.saga_id:
            self._alone = message.saga_id
            return True
        self._waiting[message.saga_id] = message
        return False

    def is_over(self, saga_id: str) -> RequestLease | None:
        """That saga needs no lease for now. Where it was its turn, it is the turn of the one that is returned."""
        self._waiting.pop(saga_id, None)
        if self._alone != saga_id:
            return None
        self._alone = None
        return self._waiting.pop(next(iter(self._waiting))) if self._waiting else None
