"""One application's client of an actor system: all that orchestrators offer, with or without asyncio, rests on it."""

from __future__ import annotations

import os
import pwd
import threading
import time
from pathlib import Path
from typing import Any

from antistrophe.client.deadline import Deadline
from antistrophe.client.request_reply import Requests
from antistrophe.client.subscription import ChangeSubscription
from antistrophe.definition.code_loading import inside_step_process
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import SagaNotFoundError, SystemStateError
from antistrophe.eventstore.recorded import Upcasts, recorded
from antistrophe.eventstore.store import EventStore
from antistrophe.journal import journal_path
from antistrophe.launcher.attachment import Attachment
from antistrophe.linux.termination import HOME_MARKER
from antistrophe.messages import Done, ListProcesses, OrderSaga, Processes, ResolveStep
from antistrophe.records import ProcessRecord, SagaMetadata, SagaPage, SagaStatus, TimelineEntry
from antistrophe.saga.inputs import CancelAsked, RetryAsked
from antistrophe.saga.outcome import Outcome, error_of
from antistrophe.settings import Settings

DEFAULT_HOME = ".antistrophe"

_FIRST_LOOK_S = 0.005
_LONGEST_LOOK_S = 0.05


class Client:
    """Attached to the system of a home from its making until `close`. Any thread may use it; a fork may not."""

    def __init__(
        self, home: str | os.PathLike[str] | None, settings: Settings | None, versions: Upcasts | None = None
    ) -> None:
        if inside_step_process():
            raise SystemStateError(
                "an orchestrator can't be opened inside a step process. If a step wanted to: start the saga from the"
                " application instead. If this is your script: what it does when it is run belongs under"
                ' `if __name__ == "__main__":`, because step processes load the script to find its steps'
            )
        self.home = home_of(home)
        self._versions = versions
        self._store: EventStore | None = None
        self._store_lock = threading.Lock()
        self._attachment = Attachment(self.home, settings or Settings())
        self._requests = Requests(self._attachment)
        self._attachment.open()

    @property
    def usable(self) -> bool:
        """Whether it was neither closed nor taken along into a fork."""
        return not self._attachment.closed and not self._attachment.foreign

    # --- running sagas -----------------------------------------------------------------------------------------

    def run(self, saga: SagaDefinition, if_live: str, patience: Deadline) -> list[object]:
        """Have a saga accepted and wait for its end."""
        join = _joins(if_live)
        self._attachment.check_process()
        spec = saga.spec(self._attachment.settings.max_payload_bytes)
        return _events_of(self._requests.run(spec, join=join, patience=patience), self._versions)

    def start(self, saga: SagaDefinition, if_live: str) -> str:
        """Have a saga accepted; answers with its id."""
        join = _joins(if_live)
        self._attachment.check_process()
        self._requests.start(saga.spec(self._attachment.settings.max_payload_bytes), join=join)
        return saga.id

    def result(self, saga_id: str, patience: Deadline) -> list[object]:
        """Wait for the end of a saga."""
        self._attachment.check_process()
        return _events_of(self._requests.outcome(saga_id, patience), self._versions)

    # --- orders ------------------------------------------------------------------------------------------------

    def cancel(self, saga_id: str, reason: str | None) -> bool:
        """Order a saga to turn back."""
        return self._order(saga_id, CancelAsked(reason, _user()))

    def retry_compensation(self, saga_id: str, note: str | None) -> bool:
        """Order the compensations that were given up to be tried again."""
        return self._order(saga_id, RetryAsked(_user(), note))

    def resolve(self, saga_id: str, step_name: str, note: str) -> bool:
        """Give an operator's word for a compensation."""
        return self._order(saga_id, ResolveStep(step_name, note, _user()))

    def _order(self, saga_id: str, order: CancelAsked | RetryAsked | ResolveStep) -> bool:
        self._attachment.check_process()
        return self._requests.ask(
            lambda correlation: OrderSaga(correlation, saga_id, order, self._attachment.client_id), Done
        ).effect

    # --- looking -----------------------------------------------------------------------------------------------

    def counts(self) -> tuple[int, int]:
        """How many sagas run, and how many have finished or are parked."""
        running, finished = self._query("counts")
        return running, finished

    def get(self, saga_id: str) -> SagaMetadata | None:
        """One saga, or None."""
        found: SagaMetadata | None = self._query("get", saga_id=saga_id)
        return found

    def require(self, saga_id: str) -> SagaMetadata:
        """One saga, or SagaNotFoundError."""
        found = self.get(saga_id)
        if found is None:
            raise self._not_found(saga_id)
        return found

    def running(self) -> list[SagaMetadata]:
        """The sagas that run."""
        return list(self._query("running"))

    def history(self, limit: int) -> list[SagaMetadata]:
        """The last sagas that finished or were parked."""
        return list(self._query("history", limit=_positive(limit)))

    def page(
        self, status: SagaStatus | None, name: str | None, text: str | None, limit: int, cursor: str | None
    ) -> SagaPage:
        """A page of sagas."""
        wanted = None if status is None else SagaStatus(status)
        sagas, following = self._query(
            "list", status=wanted, name=name, text=text, limit=_positive(limit), cursor=cursor
        )
        return SagaPage(tuple(sagas), following)

    def timeline(self, saga_id: str) -> list[TimelineEntry]:
        """The entries of a saga, or SagaNotFoundError."""
        entries: list[TimelineEntry] | None = self._query("timeline", saga_id=saga_id)
        if entries is None:
            raise self._not_found(saga_id)
        return entries

    def subscribe(self, from_position: int | None) -> ChangeSubscription:
        """Follow the changes of all sagas."""
        self._attachment.check_process()
        return ChangeSubscription(self._requests, self._attachment, from_position)

    def wait_idle(self, patience: Deadline) -> None:
        """Wait until no saga runs."""
        pause_s = _FIRST_LOOK_S
        while running := self.counts()[0]:
            if patience.over:
                raise patience.error(f"{running} saga(s) of {self.home} have not ended")
            time.sleep(patience.left_s(pause_s))
            pause_s = min(pause_s * 2, _LONGEST_LOOK_S)

    def processes(self) -> list[ProcessRecord]:
        """The processes of the system."""
        self._attachment.check_process()
        answer = self._requests.ask(ListProcesses, Processes)
        system = self._attachment.wait_ready(self._attachment.settings.reattach_s)
        return [
            ProcessRecord(system.launcher_pid, "launcher"),
            ProcessRecord(system.admin_pid, "admin"),
            ProcessRecord(system.logger_pid, "logger"),
            *answer.processes,
        ]

    @property
    def event_store(self) -> EventStore:
        """The store of the sagas' events."""
        self._attachment.check_process()
        with self._store_lock:
            if self._store is None:
                if self._attachment.closed:
                    raise SystemStateError(f"the orchestrator of {self.home} is closed")
                synchronous = self._attachment.settings.synchronous
                self._store = EventStore(journal_path(self.home), self._versions, synchronous=synchronous)
            return self._store

    def _query(self, what: str, **arguments: Any) -> Any:
        self._attachment.check_process()
        return self._requests.query(what, **arguments).value

    def _not_found(self, saga_id: str) -> SagaNotFoundError:
        return SagaNotFoundError(f"there is no saga {saga_id!r} in {self.home}")

    # --- leaving -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the system, and wait for its end where nobody else is attached."""
        if self._attachment.foreign:
            return
        with self._store_lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()
        self._attachment.close()
        self._requests.close()

    def wake(self) -> None:
        """Have the calls that wait look at their patience."""
        self._requests.wake()

    def drop(self) -> None:
        """Leave without waiting for anything."""
        self._attachment.leave()


def home_of(home: str | os.PathLike[str] | None) -> Path:
    """The folder that is meant: this one, ``$ANTISTROPHE_HOME``, or ``.antistrophe``; absolute, without links."""
    return Path(os.path.realpath(home or os.environ.get(HOME_MARKER) or DEFAULT_HOME))


def _joins(if_live: str) -> bool:
    if if_live not in ("raise", "join"):
        raise ValueError(f'if_live must be "raise" or "join", not {if_live!r}')
    return if_live == "join"


def _positive(limit: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"limit must be a whole number from 1 on, not {limit!r}")
    return limit


def _user() -> str:
    """Who gives an order, as it is journaled."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _events_of(outcome: Outcome, versions: Upcasts | None) -> list[object]:
    error = error_of(outcome)
    if error is not None:
        raise error
    # As rows of the store, where they have a place and a time besides, so that both are read in the same way.
    rows = [(0, outcome.saga_id, 0, event.type, event.type_version, event.data, None, 0) for event in outcome.events]
    return [each.event for each in recorded(rows, versions)]
