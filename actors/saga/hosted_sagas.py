"""The saga actors of one process: who gets which message, whom an alarm wakes, and which commits are shared.

Nothing here knows Thespian: ``SagaHost`` gives it to a process of the system, the simulation to a process of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from antistrophe.actors.saga.batch_commit import LONGEST_S, Batch
from antistrophe.actors.saga.ports import EvidencePort, HostProcessPort, SharedJournalPort
from antistrophe.actors.saga.saga import SagaActor
from antistrophe.errors import JournalError, SagaExistsError, SagaNotFoundError, UnreadableEntryError
from antistrophe.journal.saga_owner import SagaTakenError
from antistrophe.messages import (
    Address,
    BeginSaga,
    HostConfiguration,
    ResumeSaga,
    SagaActorFailed,
    SagaEnded,
    SagaSleeps,
    SagaTaken,
)
from antistrophe.scheduling.alarms import Alarms
from antistrophe.settings import Settings

log = logging.getLogger("antistrophe")


class HostedSagas:
    """Hands each message to the actor of its saga. An actor that fails takes no other with it.

    The messages that are handled between two calls of ``settle`` are a batch: they share one journal commit, and what
    they cause is sent after that commit.
    """

    def __init__(
        self,
        process: HostProcessPort,
        journal: SharedJournalPort,
        evidence: EvidencePort,
        supervisor: Address,
        settings: Settings,
    ) -> None:
        self.supervisor = supervisor
        self.settings = settings
        self.draining = False
        self.now = process.now
        self.wall = process.wall
        self._process = process
        self._journal = journal
        self._evidence = evidence
        self._actors: dict[str, SagaActor] = {}
        self._alarms = Alarms()
        self._wakes_at: float | None = None
        self._batch: Batch | None = None

    # --- batches -----------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> bool:
        """True while something has been handled since the last commit."""
        return self._batch is not None

    @property
    def full(self) -> bool:
        """True where it is time to settle, even if more messages are there."""
        return self._batch is not None and self._batch.full(self.now())

    def take(self, saga_id: str, message: Any) -> None:
        """Handle a message as a part of the present batch. None: the saga's alarm has gone off."""
        if self._batch is not None and saga_id in self._batch.before and saga_id not in self._actors:
            self.settle()  # its actor has left: another one reads the saga, and so what that one has written
        batch = self._batch
        if batch is None:
            batch = self._batch = Batch(self._journal, self.now() + LONGEST_S)
        batch.take(saga_id, message, self._actors.get(saga_id), self._alarms.get(saga_id))
        self._deliver(saga_id, message)
        if batch.broken:
            self._handle_one_by_one(batch)

    def settle(self) -> None:
        """Commit the batch and send what it caused."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        try:
            batch.commit(self._process.send)
        except JournalError:
            self._handle_one_by_one(batch)

    def _handle_one_by_one(self, batch: Batch) -> None:
        """The journal has refused a part of the batch: undo all of it, then handle each message alone."""
        self._batch = None
        batch.roll_back()
        for saga_id, (actor, alarm) in batch.before.items():
            if actor is None:
                self._actors.pop(saga_id, None)
            else:
                self._actors[saga_id] = actor
            self._alarms.remove(saga_id)
            if alarm is not None:
                self.wake_saga_at(alarm, saga_id)
        for saga_id, message in batch.messages:
            self._deliver(saga_id, message)

    def _deliver(self, saga_id: str, message: Any) -> None:
        actor = self._actors.get(saga_id)
        if actor is None and isinstance(message, BeginSaga | ResumeSaga):
            actor = self._actors[saga_id] = SagaActor(self, self._journal, self._evidence, saga_id)
        if actor is None:
            return
        try:
            actor.receive(message) if message is not None else actor.wake()
        except (SagaExistsError, SagaNotFoundError) as error:  # it was purged before this actor began, or is gone
            self.leave(saga_id)
            self.send(self.supervisor, SagaEnded(saga_id, None, str(error), type(error).__name__))
        except SagaTakenError as error:
            log.warning("%s", error, extra={"saga_id": saga_id})
            self.leave(saga_id)
            self.send(self.supervisor, SagaTaken(saga_id))
        except UnreadableEntryError as error:
            log.error("%s", error, extra={"saga_id": saga_id})
            self.leave(saga_id)
            # Where hosts share the journal, one of a newer release may understand what this one does not.
            shared = self.settings.journal is not None
            self.send(self.supervisor, SagaSleeps(saga_id, None) if shared else SagaActorFailed(saga_id))
        except Exception:
            # What the actor holds may be half of a change; the next actor starts from the journal, which is whole.
            kind = type(message).__name__
            log.exception("the actor of saga %s can't handle %s", saga_id, kind, extra={"saga_id": saga_id})
            self.leave(saga_id)
            self.send(self.supervisor, SagaActorFailed(saga_id))

    # --- what a saga actor needs -------------------------------------------------------------------------------

    def send(self, to: Address, message: Any) -> None:
        """See ``SagaHostPort``."""
        if self._batch is None:
            self._process.send(to, message)
        else:
            self._batch.send(to, message)

    def send_made(self, to: Address, answer: Callable[[int], Any]) -> None:
        """See ``SagaHostPort``."""
        if self._batch is None:
            self._process.send(to, answer(self._journal.position))
        else:
            self._batch.send_made(to, answer)

    def once_durable(self, do: Callable[[], object]) -> None:
        """See ``SagaHostPort``."""
        if self._batch is None:
            do()
        else:
            self._batch.once_durable(do)

    def drain_or_go_on(self, message: HostConfiguration) -> None:
        """The supervisor says whether it drains. Where a drain has ended, every saga goes on."""
        goes_on = self.draining and not message.draining
        self.draining = message.draining
        for saga_id in list(self._actors) if goes_on else ():
            self.take(saga_id, None)

    def leave(self, saga_id: str) -> None:
        """See ``SagaHostPort``."""
        self._actors.pop(saga_id, None)
        self._alarms.remove(saga_id)

    def wake_saga_at(self, moment: float, saga_id: str) -> None:
        """See ``SagaHostPort``."""
        alarm = self._alarms.get(saga_id)
        if alarm is None or moment < alarm:
            self._alarms.set(saga_id, moment)
            self._set_wakeup()

    # --- alarms ------------------------------------------------------------------------------------------------

    def wake_due(self) -> None:
        """Wake the actors whose alarms have gone off. An alarm that was moved or removed meanwhile wakes nobody."""
        self._wakes_at = None
        now = self.now()
        while (saga_id := self._alarms.take_due(now)) is not None:
            self.take(saga_id, None)
        self._set_wakeup()

    def _set_wakeup(self) -> None:
        first = self._alarms.next_at
        if first is not None and (self._wakes_at is None or first < self._wakes_at):
            self._wakes_at = first
            self._process.wake_in(first - self.now())
