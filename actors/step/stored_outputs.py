"""The outputs of earlier steps that no message holds, because they are large or many: read from the journal when a step
asks for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, NoReturn, Protocol

from antistrophe.definition.outputs import unpack_output
from antistrophe.errors import AntistropheError, InDoubtError, JournalError
from antistrophe.journal import JournalPlace, JournalRecord, open_journal
from antistrophe.messages import Configuration, RunStep
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.saga.results import result_in


class ResultJournal(Protocol):
    """What has to be read of a journal; see ``Journal``."""

    def entry(self, saga_id: str, seq: int) -> Entry | None: ...

    def results(self, saga_id: str, after_seq: int = 0) -> Iterator[JournalRecord]: ...

    def close(self) -> None: ...


class StoredOutputs:
    """The stored outputs of the sagas whose calls this process makes. ``opened`` opens the journal for one read.

    Of the last saga that was asked about, it remembers which entries hold outputs.
    """

    def __init__(self, opened: Callable[[], ResultJournal]) -> None:
        self._open = opened
        self._lock = threading.Lock()
        self._known = _Places("", (), {}, 0)

    @classmethod
    def of_system(cls, base: Configuration) -> StoredOutputs:
        """Those in the journal of the system, which is opened for reading only, and never for long."""
        place = JournalPlace.of_home(base.home, base.settings.journal)
        return cls(lambda: open_journal(place, read_only=True))

    def packed(self, saga_id: str, seq: int) -> bytes:
        """The output in one entry of a saga. Raises JournalError."""
        journal = self._open()
        try:
            result = result_in(journal.entry(saga_id, seq))
        finally:
            journal.close()
        if result is None or result.output is None:
            raise JournalError(f"entry {seq} of saga {saga_id!r} holds no output, though one was written there")
        return result.output

    def of(self, message: RunStep) -> OutputsOfCall:
        """Those that the call of this message may ask for."""
        return OutputsOfCall(self, message)

    def places(self, saga_id: str) -> _Places:
        """Which entries of a saga hold outputs by now. Raises JournalError."""
        with self._lock:
            known = self._known
            journal = self._open()
            try:
                if known.saga_id != saga_id:
                    accepted = journal.entry(saga_id, 1)
                    if not isinstance(accepted, SagaAccepted):
                        raise JournalError(f"there is no saga {saga_id!r} in the journal")
                    known = _Places(saga_id, tuple(step.name for step in accepted.spec.steps), {}, 0)
                for record in journal.results(saga_id, known.up_to):
                    known.up_to = record.seq
                    result = result_in(record.entry)
                    if result is not None and result.output is not None:
                        known.seq_of[result.step] = record.seq
            finally:
                journal.close()
            self._known = known
            return known


class _Places:
    """The names of a saga's steps, and by the index of a step which entry holds its output, up to one entry."""

    def __init__(self, saga_id: str, names: tuple[str, ...], seq_of: dict[int, int], up_to: int) -> None:
        self.saga_id = saga_id
        self.names = names
        self.seq_of = seq_of
        self.up_to = up_to


class OutputsOfCall:
    """The outputs that one call may ask for; the ``LaterOutputs`` of its context."""

    def __init__(self, stored: StoredOutputs, message: RunStep) -> None:
        self._stored = stored
        self._saga_id = message.saga_id
        self._step = message.step
        self._complete = not message.more_outputs
        self._seq_of: dict[str, int] = {name: seq if isinstance(seq, int) else 0 for name, seq in message.outputs}

    def names(self) -> Collection[str]:
        """See ``LaterOutputs``."""
        if not self._complete:
            try:
                places = self._stored.places(self._saga_id)
            except AntistropheError as error:
                _doubt("the outputs of earlier steps", error)
            before = sorted(index for index in places.seq_of if index < self._step)
            self._seq_of = {places.names[index]: places.seq_of[index] for index in before}
            self._complete = True
        return self._seq_of

    def read(self, step_name: str) -> Any:
        """See ``LaterOutputs``."""
        try:
            packed = self._stored.packed(self._saga_id, self._seq_of[step_name])
            return unpack_output(packed, f"the output of step {step_name!r}")
        except AntistropheError as error:
            _doubt(f"the output of step {step_name!r}", error)


def _doubt(what: str, error: Exception) -> NoReturn:
    """User code is under way, and nobody knows how far it has come."""
    raise InDoubtError(f"{what} can't be read: {error}") from error
