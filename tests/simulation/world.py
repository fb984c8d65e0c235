"""One simulated world: a saga from its start to its rest in virtual time, drawn from a seed, with faults of every kind.

No clock, no process, no thread: the host, the actor and the machine that ship, between simulated messages, step
processes, a simulated supervisor and operators. Read ``simulated_host`` for what of the shipped code runs here.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from antistrophe.errors import CommitUnknownError
from antistrophe.messages import ProcessDead, ProcessGrant, StepAnswer
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import (
    AttemptStarted,
    CancelRequested,
    CompensationGivenUp,
    CompensationRetried,
    Entry,
    Lease,
    StepResolved,
    TurnedBack,
    TurnReason,
)
from antistrophe.saga.outcome import status_of
from antistrophe.saga.state import replay
from tests.simulation.effects_ledger import EffectsLedger, token_of
from tests.simulation.faults import OF_ROUGH_SERVER, RATES, Chances, Fault
from tests.simulation.operators import Operators
from tests.simulation.scenario import Scenario
from tests.simulation.simulated_host import SUPERVISOR, SimulatedHost
from tests.simulation.simulated_journal import ActorBugError, HostKilledError
from tests.simulation.simulated_supervisor import SimulatedSupervisor
from tests.simulation.step_processes import DELAY_S, StepProcess, StepProcesses
from tests.simulation.user_code import UserCode

START = 1_700_000_000.0
"""When a world begins: seconds since the epoch, so that times are as coarse as real ones."""

MOST_EVENTS = 10_000
"""A world that has not come to rest after so many events never does."""

WIRE_S = 0.001
"""How long a message takes that nothing overtakes."""

log = logging.getLogger("antistrophe")


@dataclass(frozen=True, slots=True)
class Told:
    """An outcome as it was told, and how many entries its teller had seen."""

    status: SagaStatus
    journal_length: int


@dataclass(slots=True)
class History:
    """What has happened in a world: its journal, the ledger that its calls wrote, the outcomes that were told.

    ``error``: what the actor or the machine raised, if it did; ``rested``: it came to rest within its bound;
    ``leaked``: the leases that an actor kept which left in order; ``unheld``: the attempts that were journaled on a
    lease which the saga did not hold; ``ahead``: the positions that were told before they were durable;
    ``lost``: what was told or called, and is not on the server that has taken over; ``faults``: how often each fault
    has really occurred, and ``moments``: when.
    """

    scenario: Scenario
    journal: list[Entry]
    ledger: EffectsLedger
    told: list[Told] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    unheld: list[str] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    faults: Counter[Fault] = field(default_factory=Counter)
    moments: dict[Fault, list[float]] = field(default_factory=dict)
    error: BaseException | None = None
    rested: bool = False
    events: int = 0

    def describe(self) -> str:
        """The whole history as text, times relative to the world's beginning."""
        lines = [f"seed {self.scenario.seed}, faults {dict(self.faults)}"]
        lines += [f"  step {index}: {step}" for index, step in enumerate(self.scenario.spec.steps)]
        lines += [f"  {index:3} {entry.at - START:9.3f} {entry}" for index, entry in enumerate(self.journal)]
        lines += [f"  call {call}" for call in self.ledger.calls]
        return "\n".join([*lines, f"  told {self.told}", f"  error {self.error!r}, rested {self.rested}"])


@dataclass(frozen=True, slots=True)
class Mail:
    """A message on its way to the host. ``meant_for``: the only host and life of the actor that may get it, or None."""

    message: Any
    meant_for: tuple[SimulatedHost, int] | None


class World:
    """A world that can be run once. With a ``journal``, it goes on from there, after a reboot."""

    def __init__(self, scenario: Scenario, journal: Sequence[Entry] = ()) -> None:
        self.scenario = scenario
        self.rng = random.Random(f"world/{scenario.seed}")
        rates = RATES | OF_ROUGH_SERVER if scenario.rough_server else RATES
        self.chances = Chances(self.rng, scenario.faults, scenario.budget, lambda: self.now, rates)
        self.now = max(START, journal[-1].at) if journal else START
        self.disk_full_until = 0.0
        self.ledger = EffectsLedger()
        self.history = History(
            scenario, list(journal), self.ledger, faults=self.chances.counts, moments=self.chances.moments
        )
        self.code = UserCode(scenario, self.rng, self.chances, self.ledger)
        self.processes = StepProcesses(self)
        self.operators = Operators(self)
        self.supervisor = SimulatedSupervisor(self)
        self.up = True
        self._queue: list[tuple[float, int, int | None, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._mail: dict[int, Mail] = {}
        self._epoch = self._servers = 0
        self._replicated = len(journal)
        self._last_delivered = -1

    @property
    def journal(self) -> list[Entry]:
        """Everything that is durable."""
        return self.history.journal

    @property
    def lives(self) -> tuple[int, int]:
        """The numbers of the system's life, and of the server's."""
        return self._epoch, self._servers

    def replicate(self) -> None:
        """The standby has all that is there."""
        self._replicated = len(self.journal)

    def _maybe_fail_over(self) -> None:
        """The server is gone for good, and its standby takes over with what it has, once. What was told, or acted upon,
        is of that."""
        lost = self.journal[self._replicated :]
        if not (lost and self.scenario.on_server) or self._servers or not self.chances.strikes(Fault.FAIL_OVER):
            return
        history = self.history
        history.lost += [str(told) for told in history.told if told.journal_length > self._replicated]
        history.lost += [f"position {told}" for told in self.operators.positions if told > self._replicated]
        called = [entry for entry in lost if isinstance(entry, AttemptStarted) and self.ledger.made(token_of(entry))]
        history.lost += [f"the intent of {entry}" for entry in called]
        del self.journal[self._replicated :]
        self._servers += 1

    # --- time --------------------------------------------------------------------------------------------------

    def after(self, delay_s: float, act: Callable[[], None], *, outside: bool = False) -> None:
        """Have something happen later; unless it comes from ``outside``, only if the system lives until then."""
        epoch = None if outside else self._epoch
        heapq.heappush(self._queue, (self.now + max(0.0, delay_s), next(self._numbers), epoch, act))

    def run(self) -> History:
        """Run until nothing is left to happen."""
        history = self.history
        self.operators.begin()
        self.after(0.0, self._come_up)
        log.addFilter(self._note_error)
        try:
            while self._queue and history.error is None and history.events < MOST_EVENTS:
                self._next_event()
        except Exception as error:  # a fault of the simulation itself
            history.error = error
        finally:
            log.removeFilter(self._note_error)
        history.rested = not self._queue and history.error is None
        self._note_what_the_journal_shows()
        return history

    def _note_error(self, record: logging.LogRecord) -> bool:
        """An actor that fails is logged by its host; whatever made it fail is a finding, unless it was drawn."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, ActorBugError | CommitUnknownError):
            self.history.error = error
        return False

    def _next_event(self) -> None:
        at, _, epoch, act = heapq.heappop(self._queue)
        self.now = max(self.now, at)
        if epoch is not None and epoch != self._epoch:
            return
        self.history.events += 1
        if self._unfinished() and self.chances.strikes(Fault.CLOCK_LEAP):
            self.now += self.rng.uniform(0.5, 60.0)
        try:
            act()
        except HostKilledError:
            self.supervisor.host.alive = False
            self.after(self.rng.uniform(0.0, 0.5), self.supervisor.host_died)
        self._maybe_fail_over()
        if self._unfinished():
            self._maybe_go_down()

    def _unfinished(self) -> bool:
        return self.up and bool(self.journal) and self.supervisor.placed

    def _note_what_the_journal_shows(self) -> None:
        faults = {
            CancelRequested: Fault.CANCEL,
            CompensationRetried: Fault.OPERATOR_RETRIES,
            StepResolved: Fault.OPERATOR_RESOLVES,
        }
        given_up: set[int] = set()
        for entry in self.journal:
            if type(entry) in faults:
                self.chances.note(faults[type(entry)])
            if isinstance(entry, CompensationGivenUp):
                given_up.add(entry.step)
            if isinstance(entry, StepResolved) and entry.step not in given_up:
                self.chances.note(Fault.OPERATOR_RESOLVES_EARLY)
            if isinstance(entry, TurnedBack) and entry.cause.reason is TurnReason.DEADLINE:
                self.chances.note(Fault.DEADLINE)

    # --- messages ----------------------------------------------------------------------------------------------

    def route(self, to: Any, message: Any) -> None:
        """A message of the host, or of the supervisor to the client."""
        if to == SUPERVISOR:
            self.after(WIRE_S, lambda: self.supervisor.receive(message))
        elif isinstance(to, StepProcess):
            self._to_process(to, message)
        else:
            self.operators.hear(message)

    def _to_process(self, process: StepProcess, message: Any) -> None:
        if self.chances.strikes(Fault.GO_LOST):
            return
        late = self.chances.strikes(Fault.GO_LATE)
        self.after(self.rng.uniform(0.2, 2.0) if late else DELAY_S * self.rng.random(), lambda: process.run(message))
        if self.chances.strikes(Fault.GO_DOUBLED):
            self.after(self.rng.uniform(0.0, 3.0), lambda: process.run(message))

    def to_host(self, message: Any, *, crosses: bool = False, first: bool = False) -> None:
        """Send the saga's actor a message. ``crosses``: another life of the actor may get it than the one that it was
        meant for; ``first``: it is what an actor is told first, or the host itself, and nothing overtakes it."""
        meant_for = None if crosses else (self.supervisor.host, self.supervisor.actors)
        adopted = isinstance(message, ProcessGrant) and message.adopted
        doubles = adopted or isinstance(message, ProcessDead | StepAnswer)
        for _ in range(2 if doubles and self.chances.strikes(Fault.MESSAGE_DOUBLED) else 1):
            late = not first and self.chances.strikes(Fault.MESSAGE_LATE)
            delay_s = self.rng.uniform(1.0, 30.0) if late else WIRE_S + (0.0 if first else DELAY_S * self.rng.random())
            number = next(self._numbers)
            self._mail[number] = Mail(message, meant_for)
            self.after(delay_s, lambda number=number: self._deliver(number))  # type: ignore[misc]

    def forget_grant(self, lease: Lease) -> None:
        """That lease is adopted. Its grant can be no later than the answer to that, and counts no more."""
        for number, mail in list(self._mail.items()):
            if isinstance(mail.message, ProcessGrant) and mail.message.lease == lease and not mail.message.adopted:
                del self._mail[number]

    def hasten_a_message(self) -> None:
        """Have a message that is on its way arrive now, so that it shares a commit with the last one."""
        if self._mail:
            number = self.rng.choice(list(self._mail))
            self.after(0.0, lambda: self._deliver(number))

    def _deliver(self, number: int) -> None:
        mail, host = self._mail.pop(number, None), self.supervisor.host
        if mail is None or not host.alive:
            return
        if mail.meant_for is not None and mail.meant_for != (host, self.supervisor.actors):
            return
        if number < self._last_delivered:
            self.chances.note(Fault.MESSAGE_REORDERED)
        self._last_delivered = max(number, self._last_delivered)
        message = mail.message
        host.receive(message)

    def outcome_told(self, status: SagaStatus, position: int) -> None:
        """The client hears how the saga ended, or that it is parked."""
        self.history.told.append(Told(status, position))
        self.operators.told(status)

    def client_was_refused(self) -> None:
        """The journal did not take the saga, or nobody knows: the client starts it again, and the system goes on with
        what it finds there."""
        self.after(self.rng.uniform(0.5, 2.0), self._start_or_go_on)

    # --- the whole system --------------------------------------------------------------------------------------

    def _maybe_go_down(self) -> None:
        if self.chances.strikes(Fault.SYSTEM_CRASH):
            self._go_down()
        elif not self.supervisor.draining and self.chances.strikes(Fault.SYSTEM_DRAINED):
            self.supervisor.drain()
            drain_s = self.rng.uniform(0.0, 5.0)
            self.after(drain_s, lambda: self.supervisor.end_all(1.0))
            self.after(drain_s + self.rng.choice((0.0, 2.0)), self._go_down)

    def _go_down(self) -> None:
        self._epoch += 1
        self.up = False
        self._mail.clear()
        self.supervisor.host.alive = False
        self.supervisor.live = self.supervisor.placed = False
        self.processes.go_down(reboot=self.chances.strikes(Fault.REBOOT))
        self.after(self.rng.uniform(0.1, 60.0), self._start_system)

    def _start_system(self) -> None:
        self.up = True
        self.supervisor = SimulatedSupervisor(self)
        self._come_up()

    def _come_up(self) -> None:
        """The system starts: an unfinished saga goes on, and whoever waits for one that is finished hears its end."""
        saga = replay(self.journal) if self.journal else None
        if saga is None:
            self._start_unless_it_lives()
        elif saga.ended or saga.parked:
            self.replicate()
            self.outcome_told(status_of(saga), len(self.journal))
        else:
            self.supervisor.resume()

    def look_soon(self) -> None:
        """A host looks every second whether it has a saga without an actor. Who waits for an end asks again."""
        self.after(1.0, self._look)

    def _look(self) -> None:
        rests = self.up and self.journal and not (self.supervisor.live or self.supervisor.draining)
        if rests and not any(told.journal_length == len(self.journal) for told in self.history.told):
            self._come_up()

    def _start_or_go_on(self) -> None:
        self._look()
        self._start_unless_it_lives()

    def _start_unless_it_lives(self) -> None:
        if self.up and not self.journal and not self.supervisor.live:
            self.supervisor.begin()


def run(scenario: Scenario) -> History:
    """The history of that scenario's world."""
    return World(scenario).run()
