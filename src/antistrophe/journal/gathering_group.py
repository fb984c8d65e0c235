"""A group whose appends are sent to the server by its commit, all in one statement and so in one round trip."""

from __future__ import annotations

from antistrophe.errors import JournalError, RequestError
from antistrophe.journal.journal import SeqConflictError
from antistrophe.journal.postgres_append import PostgresAppends
from antistrophe.journal.saga_owner import SagaTakenError


class GatheringGroup:
    """The ``Group`` that keeps its appends until the commit. Nothing has happened before: no lock is held, nobody sees
    an append, and none can be refused, so it never breaks."""

    broken = False

    def __init__(self, appends: PostgresAppends) -> None:
        self._appends = appends
        self.position: int | None = None

    @property
    def begun(self) -> bool:
        """See ``Group``."""
        return bool(self._appends.gathered)

    def open(self) -> None:
        """See ``Group``."""
        self._appends.gathered = []

    def commit(self) -> None:
        """See ``Group``. A lost answer is told by the same statement, sent again; CommitUnknownError says that this was
        not possible."""
        gathered, self._appends.gathered = self._appends.gathered, None
        if gathered:
            try:
                self.position = self._appends.write(gathered)
            except (SeqConflictError, SagaTakenError, RequestError) as error:
                raise JournalError(f"an append that was to be made with the commit is refused: {error}") from error

    def roll_back(self) -> None:
        """See ``Group``."""
        self._appends.gathered = None
