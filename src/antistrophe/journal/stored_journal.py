"""A journal in a store: what its tools and its registry do with it, beside what every journal does."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from antistrophe.journal.group import Group, GroupCommit
from antistrophe.journal.journal import Journal, JournalRecord, SagaPage
from antistrophe.journal.retention import Purge, Purgeable
from antistrophe.journal.saga_owner import Ownership
from antistrophe.journal.texts import Texts
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Entry, SagaAccepted


class StoredAcceptance(NamedTuple):
    """The request that a saga was accepted for, and its first entry as it is stored; None where that is missing."""

    saga_id: str
    request_id: str
    packed: bytes | None


class StoredJournal(Journal, Protocol):
    """What ``open_journal`` returns, wherever the journal is."""

    @property
    def texts(self) -> Texts:
        """The index of texts, which the registry lets grow."""

    @property
    def commits(self) -> tuple[int, float]:
        """How many transactions this connection has committed, and how many seconds that took."""

    def ownership(self, saga_id: str) -> Ownership | None:
        """Who owns a saga, or None if there is no such saga. In a file nobody needs to."""

    def acceptances(self, saga_ids: Sequence[str]) -> builtins.list[StoredAcceptance]:
        """How these sagas were accepted, in the order in which they were, by one question. Those that there are not are
        left out."""

    def acceptance_in(self, stored: StoredAcceptance) -> SagaAccepted | None:
        """Read an acceptance. Raises JournalError where that can't be done."""

    def load_to_append(self, saga_id: str) -> tuple[tuple[Entry, ...], bytes | None]:
        """``load`` for whoever goes on with the saga: its entries, and the digest of the last one, by which the next
        append names it; None where nobody asks for that, or the saga has none."""

    def begun(self) -> dict[str, bool]:
        """The id of each saga that is neither finished nor parked, and whether it has begun: whether more of it is
        journaled than that it was accepted, and waits. With an owner: those that it owns. In a file, which is one
        system's alone, all count as begun."""

    def confirm(self) -> None:
        """Return once what was read here last is as safe as what is committed. A reader of a file sees nothing that is
        not on disk, or may be lost as the last commits may; one of a server may see what no standby has. Raises
        CommitUnknownError."""

    def group(self) -> GroupCommit:
        """Make a group for appends that share one transaction."""

    def gathering_group(self) -> Group:
        """Make a group whose appends may be written by its commit alone. Then ``append`` returns 0 and refuses nothing,
        and no question sees it before the commit."""

    def saga_records(self, saga_id: str) -> builtins.list[JournalRecord]:
        """All entries of a saga, in order, with the machine's time of each."""

    def settled(self, after_position: int, up_to: int, limit: int) -> builtins.list[tuple[int, str, int]]:
        """The entries behind a position up to another at which a saga ended or was parked: position, saga and seq."""

    def clock(self) -> float | None:
        """Return the time of the clock that all who share the store have, in seconds since the epoch; None where each
        goes by that of its machine."""

    def last_at(self) -> float:
        """Return the time of the last entry by the system's clock, in seconds since the epoch; 0 where there is none
        that can be read."""

    def list(
        self,
        *,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        part_bytes: int | None = None,
        unfinished: bool = False,
        accepted_by: datetime | None = None,
    ) -> SagaPage:
        """See ``Journal``. ``unfinished``: only sagas that run or are parked; ``accepted_by``: only those that were
        accepted before that moment."""

    def purge(self, which: Purgeable, **options: Any) -> Purge:
        """Begin a purge. ``options`` are those of ``Purge``."""

    def erase(self, saga_id: str, *, events: bool = False) -> bool:
        """Erase the data of a saga that has finished. See ``erasing.erase``."""

    def cut_log(self) -> bool:
        """Take away what stood in the store before an erasure. False where somebody reads or writes: nobody is waited
        for."""

    def give_back(self, *, keep: float = 0.0) -> bool:
        """Give some of the free room back. False where there is none to give. See ``free_pages.give_back``."""

    def empty_log(self) -> bool:
        """Keep the log small, without waiting. False where somebody reads for so long that it would grow."""

    def check(self) -> None:
        """Read the structure of the whole store. Raises JournalError if it is damaged."""
