"""The journal as the actors use it. They write and read whole sagas; each entry is stored with its events, and with the
row that monitoring reads."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from antistrophe.actors.saga.journal_refusals import JournalRefusals, WatchedGroup
from antistrophe.actors.saga.open_sagas import OpenSaga, open_sagas, rank_in
from antistrophe.actors.saga.this_host import ThisHost
from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import SagaSpec
from antistrophe.definition.validation import is_text
from antistrophe.errors import CommitUnknownError, JournalError, SagaExistsError, SagaNotFoundError
from antistrophe.journal import JournalPlace, SagaEvent, SagaPage, SeqConflictError, journal_in, open_store
from antistrophe.journal.last_entry import NEW_SAGA, Basis
from antistrophe.journal.opening import last_append_in
from antistrophe.journal.saga_owner import Ownership
from antistrophe.journal.tombstones import was_purged
from antistrophe.messages import Configuration, Rejected, SagaOutcome, rejection
from antistrophe.records import PurgedSaga, SagaStatus
from antistrophe.saga.entries import (
    Action,
    AttemptSucceeded,
    Entry,
    SagaAccepted,
    SagaParked,
    SagaWaits,
    VerdictGiven,
)
from antistrophe.saga.listed import row_after
from antistrophe.saga.outcome import outcome_of
from antistrophe.saga.state import Saga, evolve, replay
from antistrophe.scheduling.admission import AdmissionRank
from antistrophe.settings import Settings

if TYPE_CHECKING:
    from antistrophe.actors.saga.earlier_state import EarlierState
    from antistrophe.hosts.stored_holders import StoredHolders
    from antistrophe.storage.postgres_database import PostgresDatabase

_OPEN_AGAIN_S = 0.05
_CONFIRM_AGAIN_S = 2.0

SERVER_PATIENCE = 0.05
"""How much of a host's lease a call may wait for the server: what waits can't end attempts meanwhile."""


class JournalAccess:
    """The journal for one actor. Every method raises JournalError if the file can't be used."""

    def __init__(self, base: Configuration, patience_s: float) -> None:
        """``patience_s``: how long a call waits at most while another process holds the file's lock; for a server that
        may be more, because each answer takes its way through a network."""
        self._clock_offset_s = base.clock_offset_s
        self._shared = base.settings.journal is not None
        self._owner = ThisHost()
        self._store = open_store(
            JournalPlace.of_home(base.home, base.settings.journal),
            synchronous=base.settings.synchronous,
            patience_s=_patience_s(base.settings, patience_s),
        )
        self._journal = journal_in(self._store, owner=self._owner)
        self._earlier = self._earlier_state(base.settings) if self._shared else None
        self._refusals = JournalRefusals()
        self._group: WatchedGroup | None = None
        self._confirm_at = 0.0
        self.position = 0

    def _earlier_state(self, settings: Settings) -> EarlierState:
        from antistrophe.actors.saga.earlier_state import EarlierState  # needs psycopg, which is an extra
        from antistrophe.hosts.stored_hosts import open_for_host

        url, lease_s = str(settings.journal), settings.lease_s
        state = EarlierState(last_append_in(self._journal), lambda: open_for_host(url, lease_s), settings.host)
        self._database().look_first(state.look)
        return state

    def commit(self, before: Saga | None, after: Saga, entries: Sequence[Entry], basis: Basis = NEW_SAGA) -> Basis:
        """Make the entries between two states durable, with their events. Returns by what the next ones are written.
        Raises SeqConflictError if another actor has gone on with this saga, and SagaTakenError if this host does not
        own it by that token."""
        seq = 0 if before is None else before.seq
        self._owner.basis = basis
        # Rows that several hosts write have the time of the server, by which all of them go; their own ones may differ.
        ahead_s = 0.0 if self._shared else time.time() - time.monotonic() - self._clock_offset_s
        try:
            position = self._journal.append(
                after.id,
                expected_seq=seq,
                entries=entries,
                events=_events(after, seq, entries),
                row=row_after(before, after, entries, ahead_s),
                ahead_s=ahead_s,
            )
        except SeqConflictError as error:
            if self._earlier is not None:
                self._earlier.conflict(error)
            raise
        except JournalError as error:
            self._refusals.refused(error)
            raise
        if position:  # else its group tells, once it is committed
            self.position = position
        if self._group is None or not self._group.is_open:
            self._refusals.taken()
        return self._owner.basis

    @property
    def commits(self) -> tuple[int, float]:
        """How many transactions this actor has committed, and how many seconds that took."""
        return self._journal.commits

    def group(self) -> WatchedGroup:
        """A new group of commits that become durable together."""
        self._group = WatchedGroup(self._journal.gathering_group(), self._refusals, self._reached)
        return self._group

    def _reached(self, position: int) -> None:
        self.position = position

    def accept_waiting(self, request_id: str, spec: SagaSpec, now: float, why: str) -> int:
        """Accept a saga that has to wait until it is admitted."""
        entries: tuple[Entry, ...] = (
            SagaAccepted(now, request_id, spec, now if self._shared else time.time()),
            SagaWaits(now, why),
        )
        saga: Saga | None = None
        for entry in entries:
            saga = evolve(saga, entry)
        assert saga is not None
        self.commit(None, saga, entries)
        return self.position

    def host_is(self, host_id: str) -> None:
        """This host has that id among those that share the journal."""
        self._owner.host = host_id

    def take(self, saga_id: str) -> tuple[Saga, Basis]:
        """See ``JournalPort``. Who owns the saga is read first: whoever takes it after that is not overlooked."""
        token = self._owner.taken(saga_id, self._journal.ownership(saga_id))
        saga, last = self._read(saga_id)
        return saga, Basis(token, last)

    def confirm(self) -> None:
        """See ``JournalPort``. Whoever has waited in vain is refused for a while: others wait for this actor."""
        if time.monotonic() < self._confirm_at:
            raise CommitUnknownError("what was found in the journal may be on this server alone: no standby answers")
        try:
            self._journal.confirm()
        except JournalError:
            self._confirm_at = time.monotonic() + _CONFIRM_AGAIN_S
            raise

    def ownership(self, saga_id: str) -> Ownership | None:
        """Which host owns the saga, and by which token; None where the journal is this system's alone."""
        return self._journal.ownership(saga_id)

    def is_elsewhere(self, saga_id: str) -> bool:
        """Whether another host owns the saga, or none does."""
        owned = self._journal.ownership(saga_id)
        return owned is not None and owned.host != self._owner.host

    def holders(self) -> StoredHolders:
        """The hosts whose clients hold the sagas of a shared journal."""
        from antistrophe.hosts.stored_holders import StoredHolders  # needs psycopg, which is an extra

        return StoredHolders(self._database())

    def _database(self) -> PostgresDatabase:
        from antistrophe.storage.postgres_database import PostgresDatabase

        assert isinstance(self._store, PostgresDatabase), "hosts share a journal in PostgreSQL"
        return self._store

    def load(self, saga_id: str) -> Saga:
        """The saga, replayed from its journal entries. Raises SagaExistsError where it was purged, and
        SagaNotFoundError where it is gone."""
        return self._read(saga_id)[0]

    def _read(self, saga_id: str) -> tuple[Saga, bytes | None]:
        self.position = self._journal.head()
        entries, last = self._journal.load_to_append(saga_id)
        if not entries and (purged := self.purged(saga_id)) is not None:
            raise was_purged(saga_id, purged)
        if not entries:
            raise SagaNotFoundError(
                f"saga {saga_id!r} is not in the journal any more: this was put back to an earlier state, or a server"
                " has taken over that lacked the last commits"
            )
        return replay(entries), last

    def end_of(self, saga_id: str, correlation: str, *, durable: bool = False) -> SagaOutcome | Rejected | None:
        """What is told to whoever waits for the end of a saga: its outcome, or that it was purged; None where it has
        not ended. It is confirmed first, unless it is known to be ``durable``."""
        told: SagaOutcome | Rejected
        try:
            outcome = outcome_of(self.load(saga_id))
            if outcome is None:
                return None
            told = SagaOutcome(correlation, outcome, self.position)
        except (SagaExistsError, SagaNotFoundError) as error:
            told = rejection(correlation, error)
        if not durable:
            self.confirm()
        return told

    def status(self, saga_id: str) -> SagaStatus | None:
        """The status of the saga, or None if no saga has that id."""
        return self._journal.status(saga_id)

    def knows(self, saga_id: str) -> bool:
        """Whether there is a saga of that id, or was one until it was purged."""
        return self.request_id(saga_id) is not None or self.purged(saga_id) is not None

    def purged(self, saga_id: str) -> PurgedSaga | None:
        """What is known of a saga that was purged, or None where no saga of that id was."""
        return self._journal.purged(saga_id)

    def request_id(self, saga_id: str) -> str | None:
        """The id of the request that the saga was accepted for, or None if no saga has that id."""
        return self._journal.request_id(saga_id) if is_text(saga_id) else None

    def open_sagas(self, besides: Collection[str] = ()) -> list[OpenSaga]:
        """The sagas to go on with, in order of acceptance, ``besides`` those that are known."""
        return open_sagas(self._journal, besides)

    def parked(self, limit: int, cursor: str | None) -> SagaPage:
        """A page of the parked sagas, the last accepted first."""
        return self._journal.list(status=SagaStatus.FAILED, limit=limit, cursor=cursor)

    def parking(self, saga_id: str) -> tuple[int, float] | None:
        """The entry that parked the saga last, and its time on the machine's clock in seconds since the epoch."""
        found, seq, more = None, 0, True
        while more:
            entries, more, _ = self._journal.entries_after(saga_id, seq, (SagaParked.__name__,))
            if not entries:
                break
            _, seq, _, at_us = entries[-1]
            found = seq, at_us / 1e6
        return found

    def unfinished(self) -> list[tuple[str, bool]]:
        """The id of each saga that is neither final nor parked, and whether it compensates."""
        return self._journal.live()

    def begun(self) -> dict[str, bool]:
        """The sagas that are this host's and neither final nor parked, and whether they have begun."""
        return self._journal.begun()

    def rank(self, saga_id: str) -> AdmissionRank:
        """What decides when the saga may run."""
        return rank_in(self._journal, saga_id)


def open_at_start(base: Configuration, patience_s: float) -> JournalAccess:
    """The journal for an actor under which no attempt runs yet: a server that hosts share may take longer to answer the
    first time than the actor waits later, when it has attempts to end meanwhile. Raises JournalError."""
    give_up_at = time.monotonic() + (0.0 if base.settings.journal is None else base.settings.lease_s)
    while True:
        try:
            return JournalAccess(base, patience_s)
        except JournalError:
            if time.monotonic() >= give_up_at:
                raise
        time.sleep(_OPEN_AGAIN_S)


def _patience_s(settings: Settings, of_file_s: float) -> float:
    return of_file_s if settings.journal is None else max(of_file_s, SERVER_PATIENCE * settings.lease_s)


def _events(saga: Saga, seq: int, entries: Sequence[Entry]) -> list[SagaEvent]:
    events: list[SagaEvent] = []
    for offset, entry in enumerate(entries, start=1):
        if isinstance(entry, AttemptSucceeded | VerdictGiven) and entry.events:
            action = entry.action if isinstance(entry, AttemptSucceeded) else Action.VERIFY
            events += _stored(saga, seq + offset, entry.step, action, entry.attempt, entry.events)
    return events


def _stored(
    saga: Saga, seq: int, step: int, action: Action, attempt: int, events: Sequence[EncodedEvent]
) -> list[SagaEvent]:
    metadata = {
        "saga_id": saga.id,
        "saga": saga.spec.name,
        "step": saga.spec.steps[step].name,
        "step_index": step,
        "action": action.value,
        "attempt": attempt,
        "correlation": saga.id,
        "causation": f"{saga.id}/{seq}",
    }
    return [
        SagaEvent(
            stream=saga.id,
            type=event.type,
            type_version=event.type_version,
            data=event.data,
            metadata=metadata,
            event_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{saga.id}/{seq}/{number}")),
        )
        for number, event in enumerate(events)
    ]
