"""The registry actor: it answers monitoring queries from the journal, and sends changes to those who follow them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe.actors.base import Handler, RuntimeActor, log
from antistrophe.errors import AntistropheError, RequestError
from antistrophe.journal import Journal, SqliteJournal, journal_path
from antistrophe.messages import Address, Configuration, LifecycleReport, QueryAnswer, RegistryQuery, Rejected
from antistrophe.records import SagaStatus


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

    def __init__(self) -> None:
        super().__init__()
        self.die_with_parent()
        self._polls: list[_Poll] = []

    def handlers(self) -> Mapping[type, Handler]:
        return {Configuration: self._on_configuration}

    def _on_configuration(self, message: Configuration, _sender: Address) -> None:
        if self.base is not None:
            return
        self.configure(message)
        self._read: Journal = SqliteJournal(journal_path(message.home), synchronous=message.settings.synchronous)
        self._questions: dict[str, Callable[..., Any]] = {
            "get": self._read.metadata,
            "running": self._running,
            "counts": self._counts,
            "history": self._read.history,
            "list": self._list,
            "timeline": self._timeline,
        }
        self.also_handle(
            {RegistryQuery: self._on_query, LifecycleReport: self._on_report, WakeupMessage: self._on_wakeup}
        )

    def _on_query(self, message: RegistryQuery, _sender: Address) -> None:
        query, to = message.query, message.reply_to
        try:
            if query.what == "changes":
                self._poll(to, query.correlation, **query.arguments)
                return
            question = self._questions.get(query.what)
            if question is None:
                known = ", ".join(self._questions)
                raise RequestError(f"the registry has no answer to {query.what!r}; it knows {known} and changes")
            position = self._read.head()
            self.send(to, QueryAnswer(query.correlation, question(**query.arguments), position))
        except Exception as error:
            self.send(to, _no_answer(query.correlation, error))

    def _on_report(self, _message: LifecycleReport, _sender: Address) -> None:
        self._serve_polls()

    def _on_wakeup(self, _message: Any, _sender: Address) -> None:
        self._serve_polls()
        self._tick()

    # --- questions ---------------------------------------------------------------------------------------------

    def _running(self) -> list[Any]:
        sagas = [saga for status in (SagaStatus.EXECUTING, SagaStatus.COMPENSATING) for saga in self._all(status)]
        return sorted(sagas, key=lambda saga: saga.created_at)

    def _all(self, status: SagaStatus) -> list[Any]:
        sagas: list[Any] = []
        cursor: str | None = None
        while True:
            page, cursor = self._list(status=status, limit=1_000, cursor=cursor)
            sagas += page
            if cursor is None:
                return sagas

    def _counts(self) -> tuple[int, int]:
        counts = self._read.counts()
        running = sum(number for status, number in counts.items() if status.running)
        return running, sum(counts.values()) - running

    def _list(
        self,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[Any], str | None]:
        page = self._read.list(status=status, name=name, text=text, limit=limit, cursor=cursor)
        return list(page.sagas), page.cursor

    def _timeline(self, saga_id: str) -> list[Any] | None:
        return None if self._read.metadata(saga_id) is None else list(self._read.timeline(saga_id))

    # --- changes -----------------------------------------------------------------------------------------------

    def _poll(self, reply_to: Address, correlation: str, after_position: int | None, limit: int, wait_s: float) -> None:
        if after_position is None:
            self.send(reply_to, QueryAnswer(correlation, ([], self._read.head()), self._read.head()))
            return
        self._polls = [poll for poll in self._polls if poll.correlation != correlation]
        was_idle = not self._polls
        self._polls.append(_Poll(reply_to, correlation, after_position, limit, self.now() + wait_s))
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
                changes = list(self._read.changes(poll.after_position, poll.limit))
            except Exception as error:
                self.send(poll.reply_to, _no_answer(poll.correlation, error))
                continue
            if changes or now >= poll.until:
                position = changes[-1].position if changes else poll.after_position
                answer = QueryAnswer(poll.correlation, (changes, position), self._read.head())
                self.send(poll.reply_to, answer)
            else:
                left.append(poll)
        self._polls = left


def _no_answer(correlation: str, error: Exception) -> Rejected:
    """The refusal of a query that is wrong (a bad cursor, an id that can't be stored) or that the file can't answer."""
    if isinstance(error, AntistropheError):
        return Rejected(correlation, type(error).__name__, str(error))
    log.warning("a question has no answer: %r", error)
    text = f"the registry can't answer that: {type(error).__name__}: {error}"
    return Rejected(correlation, "RequestError", text.encode("utf-8", "replace").decode())
