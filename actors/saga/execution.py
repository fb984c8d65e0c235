"""One saga between its journal and its actor: a change is decided, journaled, and only then true."""

from __future__ import annotations

from collections.abc import Iterator

from antistrophe.actors.saga.ports import EvidencePort, JournalPort, SagaHostPort
from antistrophe.actors.step.attempt_file import AttemptId, AttemptRecord
from antistrophe.errors import JournalError
from antistrophe.journal import EarlierTryError, SeqConflictError
from antistrophe.journal.last_entry import NEW_SAGA
from antistrophe.messages import BeginSaga, ProcessDead, ProcessGrant
from antistrophe.saga.entries import AttemptExpired, AttemptStarted, SagaAccepted
from antistrophe.saga.inputs import Answered, Fenced, Input, Overdue, ProcessGranted, Resumed, TimePassed
from antistrophe.saga.machine import transition
from antistrophe.saga.state import Saga, evolve
from antistrophe.serialization.struct_dataclass import dataclass

_STAYS_TRUE = (Answered, Fenced, Overdue, Resumed)
"""The inputs that can be decided again later. A grant can't: its process is given back meanwhile. Time can't: the next
wakeup tells how late it is then. An order can't: whoever gave it hears at once that it was refused."""


@dataclass(frozen=True, slots=True)
class Change:
    """The saga before and after some entries."""

    before: Saga | None
    after: Saga


class Execution:
    """The saga as its actor holds it. Where it has changed hands since this actor read it, be it there and back, or the
    journal has another entry in the place of the last one, what the actor writes is refused.

    While the journal refuses (a full disk, a lock that another process holds), the saga is ``stuck``: the inputs that
    stay true are kept, each once, and ``retry`` decides them again.
    """

    def __init__(self, journal: JournalPort, evidence: EvidencePort, host: SagaHostPort) -> None:
        self._journal = journal
        self._evidence = evidence
        self._host = host
        self._saga: Saga | None = None
        self._basis = NEW_SAGA
        self._only_read = False
        self._backlog: tuple[Input, ...] = ()
        self._dead: tuple[str, ...] = ()
        self.refusal: JournalError | None = None

    def copy(self) -> Execution:
        """The saga as it is held now."""
        twin = Execution.__new__(Execution)
        twin.__dict__.update(self.__dict__)
        return twin

    @property
    def saga(self) -> Saga:
        assert self._saga is not None, "begun or loaded before it is asked"
        return self._saga

    @property
    def token(self) -> int:
        """By which the host owned the saga when this actor read it. It grows with each owner."""
        return self._basis.token

    @property
    def begun(self) -> bool:
        return self._saga is not None

    @property
    def stuck(self) -> bool:
        """True while the journal refuses; ``refusal`` says why."""
        return self.refusal is not None

    def begin(self, message: BeginSaga) -> Change:
        """Accept a new saga and, where a process was granted, start its first attempt, in one commit. Raises
        SeqConflictError where the saga is in the journal already, JournalError where the journal refuses."""
        now = self._host.now()
        accepted = SagaAccepted(now, message.request_id, message.spec, self._host.wall())
        said: Input = Resumed() if message.grant is None else _granted(message.grant)
        entries, saga = transition(evolve(None, accepted), said, now)
        self._basis = self._journal.commit(None, saga, (accepted, *entries), NEW_SAGA)
        self._saga = saga
        return Change(None, saga)

    def load(self, saga_id: str, *, asked: bool = False) -> None:
        """Read the saga from the journal, and decide what its last entry left undecided. ``asked``: somebody is told
        what it is like. Raises SagaTakenError where it is another host's."""
        self._take(saga_id, asked=asked)
        try:
            self.tell(Resumed())
        except SeqConflictError:  # what an earlier actor has sent to a server has come late
            self._take(saga_id, asked=asked)
            self.tell(Resumed())

    def _take(self, saga_id: str, *, asked: bool) -> None:
        saga = self._read(saga_id)
        # Else an entry comes before all that is done.
        if asked or saga.current is not None or saga.ended or saga.parked:
            self._confirm()

    def _read(self, saga_id: str) -> Saga:
        saga, self._basis = self._journal.take(saga_id)
        self._saga, self._only_read = saga, True
        return saga

    def _confirm(self) -> None:
        """Have what was read be as safe as what is written."""
        if self._only_read:
            self._journal.confirm()
            self._only_read = False

    def unconfirmed(self) -> JournalError | None:
        """Why nobody may be told what the saga is like: what was read may be lost. None: it is safe now."""
        try:
            self._confirm()
        except JournalError as error:
            return error
        return None

    def tell(self, said: Input) -> Change | None:
        """Decide on an input and journal the entries. Returns None where nothing changed, or the journal refused (then
        the saga is stuck). Raises SeqConflictError where somebody else has appended to this saga."""
        if self._backlog:
            self._keep(said)
            return None
        return self._decide(said, dispatch=not self._host.draining)

    def retry(self) -> Iterator[Change]:
        """Decide again on the inputs that were kept, in the order in which they came. No attempt starts from them: the
        process of which they speak may be gone by now."""
        kept, self._backlog, self.refusal = self._backlog, (), None
        for number, said in enumerate(kept, start=1):
            change = self._decide(said, dispatch=False)
            refused = self.refusal is not None
            if refused:
                self._backlog += kept[number:]
            if change is not None:
                yield change
            if refused:
                return
        dead, self._dead = self._dead, ()
        for lease_name in dead:
            self.remove_evidence(lease_name)

    def _decide(self, said: Input, *, dispatch: bool) -> Change | None:
        before, self.refusal = self.saga, None
        entries, after = transition(before, said, self._host.now(), dispatch=dispatch)
        if not entries:
            return None
        try:
            self._basis = self._journal.commit(before, after, entries, self._basis)
            self._only_read = False
        except SeqConflictError as error:
            if not isinstance(error, EarlierTryError) and error.actual > error.expected:
                raise
            return self._go_on(before, said, dispatch=dispatch)
        except JournalError as error:
            self._refused(error, said)
            return None
        self._saga = after
        return Change(before, after)

    def _go_on(self, before: Saga, said: Input, *, dispatch: bool) -> Change | None:
        """The journal may have what was decided here before, though its answer was lost; or another server has taken
        over, and lacks what was read here. Read the saga anew, and decide again, which mostly changes nothing. Returns
        all that has changed since ``before``."""
        try:
            self._read(before.id)
        except JournalError as error:
            self._refused(error, said)
            return None
        self._decide(said, dispatch=dispatch)
        return Change(before, self.saga)

    def _refused(self, error: JournalError, said: Input) -> None:
        self.refusal = error
        self._keep(said)

    def keep_overdue(self, passed: TimePassed) -> bool:
        """While the journal refuses: whether the current attempt is past its limit, and nothing is known of its end. It
        has to end now. That it was past its limit is kept until the journal takes it."""
        current = self.saga.current
        if current is None or not self.stuck or any(_settles(said, current) for said in self._backlog):
            return False
        entries, _ = transition(self.saga, passed, self._host.now())
        if not any(isinstance(entry, AttemptExpired) for entry in entries):
            return False
        self._keep(Overdue(current.step, current.action, current.attempt))
        return True

    def _keep(self, said: Input) -> None:
        if isinstance(said, _STAYS_TRUE) and said not in self._backlog:
            self._backlog += (said,)

    def death(self, current: AttemptStarted, dead: ProcessDead) -> Fenced:
        """The death of the current attempt's process, with what the process left behind."""
        began: bool | None = None
        answer = None
        stack = None
        lost = False
        no_stack: str | None = "the machine has been started anew since"
        if current.lease.boot_id == self._evidence.boot_id():
            record = self._evidence.read(current.lease, self._attempt_id(current))
            began, answer = _began(record, current), record.answer
            lost = dead.lost
            stack = self._evidence.stack(current.lease.name) if began and answer is None else None
            no_stack = self._evidence.why_no_stack(dead) if began and answer is None and stack is None else None
        return Fenced(
            current.step,
            current.action,
            current.attempt,
            began,
            answer,
            dead.exit_code,
            dead.signal,
            dead.by_system,
            dead.detail,
            stack,
            no_stack,
            dead.overdue,
            lost,
        )

    def remove_evidence(self, lease_name: str) -> None:
        """Remove what a dead process left, once the journal has settled its attempt."""
        if self.stuck:
            self._dead += (lease_name,)
        else:
            self._host.once_durable(lambda: self._evidence.remove(lease_name))

    def time_passed(self, allowance_s: float) -> TimePassed:
        """The input that it is later now, with the moment at which the current attempt's call began."""
        current = self.saga.current
        if current is None:
            return TimePassed()
        record = self._evidence.read(current.lease, self._attempt_id(current))
        return TimePassed(record.began_at, allowance_s)

    def _attempt_id(self, current: AttemptStarted) -> AttemptId:
        return AttemptId(self.saga.id, current.step, current.action, current.attempt)


def _settles(said: Input, current: AttemptStarted) -> bool:
    """Whether an input tells how that attempt ended, or that it is being ended."""
    return isinstance(said, Answered | Fenced | Overdue) and (said.step, said.action, said.attempt) == (
        current.step,
        current.action,
        current.attempt,
    )


def _began(record: AttemptRecord, current: AttemptStarted) -> bool | None:
    """Whether the call began; None where nobody knows. Where the process has made a later call since, this attempt had
    ended before that, and the journal was put back to an earlier state."""
    if record.other_at is not None and record.other_at > current.at:
        return None
    return False if record.never_began else record.began_at is not None or None


def _granted(grant: ProcessGrant) -> ProcessGranted:
    return ProcessGranted(grant.lease, step_class=grant.step_class)
