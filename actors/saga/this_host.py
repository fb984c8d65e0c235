"""By what an actor of this host writes to the sagas that it owns, in a journal that several hosts share."""

from __future__ import annotations

from antistrophe.journal.last_entry import NEW_SAGA, Basis
from antistrophe.journal.saga_owner import Ownership, SagaTakenError


class ThisHost:
    """The ``SagaOwner`` of one actor. ``host``: this host's id among those that share the journal. ``basis``: by what
    the saga is written that is written next; once it is, by what it goes on."""

    def __init__(self) -> None:
        self.host = ""
        self.basis = NEW_SAGA

    def token_of(self, saga_id: str) -> int:  # noqa: ARG002 - it was told for the saga that is written
        """See ``SagaOwner``. A host without a lease owns nothing."""
        return self.basis.token if self.host else 0

    def last_of(self, saga_id: str) -> bytes | None:  # noqa: ARG002 - as above
        """See ``SagaOwner``."""
        return self.basis.last

    def appends(self, saga_id: str, last: bytes) -> None:  # noqa: ARG002 - as above
        """See ``SagaOwner``."""
        self.basis = Basis(self.basis.token, last)

    def taken(self, saga_id: str, owned: Ownership | None) -> int:
        """An actor goes on with a saga that is owned so. Returns the token. Raises SagaTakenError where another host
        owns it."""
        if owned is None:
            return 1
        if owned.host != self.host:
            raise SagaTakenError(saga_id, host=owned.host, token=owned.token)
        return owned.token
