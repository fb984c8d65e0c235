"""The registry actor: it answers monitoring queries from the journal, and sends changes to those who follow them.
Beside that it purges the finished sagas that the settings do not retain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe.actors.base import Handler, RuntimeActor, log
from antistrophe.actors.reported_commits import ReportedCommits
from antistrophe.actors.retention import Retention, retained_by_hosts
from antistrophe.actors.text_indexing import TextIndexing
from antistrophe.errors import AntistropheError
from antistrophe.exception_text import name_and_text
from antistrophe.journal import Journal, JournalPlace, journal_in, open_store
from antistrophe.journal.stored_entries import PART_BYTES
from antistrophe.messages import (
    Address,
    AwaitChanges,
    Changes,
    Configuration,
    CountSagas,
    GetEntries,
    GetSaga,
    LifecycleReport,
    ListHistory,
    ListRunning,
    ListSagas,
    RegistryQuery,
    Rejected,
    SagaCounts,
    SagaEntries,
    SagaFound,
    SagaList,
)
from antistrophe.records import SagaMetadata, SagaStatus
from antistrophe.serialization.struct_dataclass import dataclass
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER

_RUNNING = (SagaStatus.EXECUTING, SagaStatus.COMPENSATING)

_PURGE = "purge"
"""The wakeup for the next step of a purge."""

_INDEX = "index"
"""The wakeup for the next step of the index of texts."""

_LATER_S = 0.005
"""So much later a wakeup comes, lest it come before its time."""

_FIRST_PURGE_S = 0.5
"""How long the registry has been at work before it begins to purge, and to add to the index."""

_JOURNAL_PATIENCE_S = 0.25
_SERVER_PATIENCE_S = 2.0
"""How long a query waits where another process keeps even readers out."""


@dataclass(frozen=True, slots=True)
class _Poll:
    """A client waits for changes after a position until a moment (seconds since the epoch)."""

    reply_to: Address
    correlation: str
    after_position: int
    limit: int
    until: float


class RegistryActor(RuntimeActor):
    """Reads the journal for each query, so that an answer is never older than what the asker has seen.

    A lifecycle report only tells the registry to look for waiting clients. A lost report delays their answers by
    ``report_s``.
    """

    role = "registry"

    def __init__(self) -> None:
        super().__init__()
        self.die_with_parent()
        self._polls: list[_Poll] = []
        self._commits = ReportedCommits()

    def handlers(self) -> Mapping[type, Handler]:
        return {Configuration: self._on_configuration}

    def _on_configuration(self, message: Configuration, _sender: Address) -> None:
        if self.base is not None:
            self._purge_if_due()  # the supervisor tells it again and again; a wakeup may be lost
            return
        self.configure(message)
        store = open_store(
            JournalPlace.of_home(message.home, message.settings.journal),
            synchronous=message.settings.synchronous,
            patience_s=_JOURNAL_PATIENCE_S if message.settings.journal is None else _SERVER_PATIENCE_S,
        )
        journal = journal_in(store)
        self._read: Journal = journal
        all_hosts = None if message.settings.journal is None else retained_by_hosts(store)
        self._retention = Retention(journal, message.settings, all_hosts)
        self._indexing = TextIndexing(journal)
        self._answers: dict[type, Callable[[Any], Any]] = {
            GetSaga: self._get_saga,
            GetEntries: self._get_entries,
            CountSagas: self._count_sagas,
            ListRunning: self._list_running,
            ListHistory: self._list_history,
            ListSagas: self._list_sagas,
        }
        self.also_handle(
            {RegistryQuery: self._on_query, LifecycleReport: self._on_report, WakeupMessage: self._on_wakeup}
        )
        self._purge_at = self.now() + _FIRST_PURGE_S
        if self._retention.wanted:
            self.wake_in(_FIRST_PURGE_S, _PURGE)
        self.wake_in(_FIRST_PURGE_S, _INDEX)

    def _on_query(self, message: RegistryQuery, _sender: Address) -> None:
        query, to = message.query, message.reply_to
        try:
            if isinstance(query, AwaitChanges):
                self._await_changes(query, to)
            else:
                self.send(to, self._answers[type(query)](query))
        except Exception as error:
            self.send(to, _no_answer(query.correlation, error))

    def _on_report(self, message: LifecycleReport, sender: Address) -> None:
        self._commits.reported(str(sender), message)
        self._serve_polls()
        self._add_to_index()

    def _on_wakeup(self, message: Any, _sender: Address) -> None:
        if message.payload == _PURGE:
            self._purge_if_due()
        elif message.payload == _INDEX:
            self._add_to_index()
        else:
            self._serve_polls()
            self._tick()

    def _purge_if_due(self) -> None:
        if self._retention.wanted and self.now() >= self._purge_at:
            pause_s = self._retention.step()
            self._purge_at = self.now() + pause_s
            self.wake_in(pause_s, _PURGE)

    def _add_to_index(self) -> None:
        pause_s = self._indexing.step()
        if pause_s is not None:
            self.wake_in(pause_s + _LATER_S, _INDEX)

    # --- queries -----------------------------------------------------------------------------------------------

    def _get_saga(self, query: GetSaga) -> SagaFound:
        saga = self._read.metadata(query.saga_id)
        return SagaFound(query.correlation, saga, self._read.purged(query.saga_id) if saga is None else None)

    def _get_entries(self, query: GetEntries) -> SagaEntries:
        entries, more, rest = self._read.entries_after(query.saga_id, query.after_seq, query.kinds, query.offset)
        known = bool(entries) or self._read.request_id(query.saga_id) is not None
        return SagaEntries(query.correlation, entries if known else None, more, rest)

    def _count_sagas(self, query: CountSagas) -> SagaCounts:
        counts = self._read.counts()
        running = sum(number for status, number in counts.items() if status.running)
        return SagaCounts(query.correlation, running, sum(counts.values()) - running, *self._commits.total)

    def _list_running(self, query: ListRunning) -> SagaList:
        found: list[SagaMetadata] = []
        place, _, cursor = (query.cursor or "0/").partition("/")
        for number in range(int(place), len(_RUNNING)):
            page = self._read.list(
                status=_RUNNING[number], limit=LARGEST_INTEGER, cursor=cursor or None, part_bytes=PART_BYTES
            )
            found += page.sagas
            if page.cursor is not None:
                return SagaList(query.correlation, tuple(found), f"{number}/{page.cursor}")
            cursor = ""
        return SagaList(query.correlation, tuple(found))

    def _list_history(self, query: ListHistory) -> SagaList:
        page = self._read.history_page(query.limit, query.cursor, PART_BYTES)
        return SagaList(query.correlation, page.sagas, page.cursor)

    def _list_sagas(self, query: ListSagas) -> SagaList:
        page = self._read.list(
            status=query.status,
            name=query.name,
            text=query.text,
            limit=query.limit,
            cursor=query.cursor,
            part_bytes=PART_BYTES,
        )
        return SagaList(query.correlation, page.sagas, page.cursor)

    # --- changes -----------------------------------------------------------------------------------------------

    def _await_changes(self, query: AwaitChanges, reply_to: Address) -> None:
        if query.after_position is None:
            self.send(reply_to, Changes(query.correlation, (), self._read.head()))
            return
        self._polls = [poll for poll in self._polls if poll.correlation != query.correlation]
        was_idle = not self._polls
        until = self.now() + query.wait_s
        self._polls.append(_Poll(reply_to, query.correlation, query.after_position, query.limit, until))
        self._serve_polls()
        if was_idle:
            self._tick()

    def _tick(self) -> None:
        assert self.base is not None
        if self._polls:
            self.wake_in(max(self.base.settings.report_s, 0.01))

    def _serve_polls(self) -> None:
        now = self.now()
        left: list[_Poll] = []
        for poll in self._polls:
            try:
                changes = tuple(self._read.changes(poll.after_position, poll.limit))
            except Exception as error:
                self.send(poll.reply_to, _no_answer(poll.correlation, error))
                continue
            if changes or now >= poll.until:
                position = changes[-1].position if changes else poll.after_position
                self.send(poll.reply_to, Changes(poll.correlation, changes, position))
            else:
                left.append(poll)
        self._polls = left


def _no_answer(correlation: str, error: Exception) -> Rejected:
    """The refusal of a query that is wrong (a bad cursor, an id that can't be stored) or that the file can't answer."""
    if isinstance(error, AntistropheError):
        return Rejected(correlation, type(error).__name__, str(error))
    log.warning("a question has no answer: %r", error)
    return Rejected(correlation, "RequestError", f"the registry can't answer that: {name_and_text(error)}")
