"""Runs many sagas, some at a time: starts or joins the saga of each line, and waits for its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from antistrophe.cli.input_file import Line
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import (
    CompensationFailedError,
    RequestError,
    SagaError,
    StepFailedError,
    SystemStateError,
)
from antistrophe.records import SagaStatus

QUIET_S = 5.0
"""When no saga has ended for so long, `run` asks what the sagas wait for."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one line. ``status`` is None where the line was wrong. ``error`` is the whole text, ``why`` a short
    reason that many sagas may share."""

    line: int
    saga_id: str | None
    status: SagaStatus | None
    error: str | None = None
    why: str | None = None


@dataclass(slots=True)
class Totals:
    """The results so far."""

    statuses: dict[str, SagaStatus] = field(default_factory=dict)
    counts: Counter[SagaStatus] = field(default_factory=Counter)
    wrong: int = 0
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count one more result."""
        if result.status is None or result.saga_id is None:
            self.wrong += 1
            return
        self.statuses[result.saga_id] = result.status
        self.counts[result.status] += 1
        if result.why is not None:
            self.reasons.setdefault(result.why, []).append(result.saga_id)

    @property
    def done(self) -> int:
        """How many lines have a result."""
        return self.counts.total() + self.wrong

    @property
    def completed(self) -> int:
        """How many sagas completed."""
        return self.counts[SagaStatus.COMPLETED]

    @property
    def compensated(self) -> int:
        """How many sagas were compensated."""
        return self.counts[SagaStatus.COMPENSATED]

    @property
    def parked(self) -> int:
        """How many sagas are parked."""
        return self.counts[SagaStatus.FAILED]


class Batch:
    """Runs sagas on ``pool``, as many at a time as it has threads."""

    def __init__(self, orchestrator: SagaOrchestrator, pool: ThreadPoolExecutor, at_a_time: int) -> None:
        self._orchestrator = orchestrator
        self._pool = pool
        self._at_a_time = at_a_time
        self._under_way: dict[Future[Result], Line] = {}

    def run(self, lines: Iterable[Line]) -> Iterator[Result | None]:
        """The results, as they come; None where no saga has ended for a while. Raises SystemStateError when the system
        can't work."""
        for line in lines:
            if line.saga is None:
                yield Result(line.number, None, None, line.problem)
                continue
            while len(self._under_way) >= self._at_a_time:
                yield from self._some_ended()
            self._under_way[self._pool.submit(self._settle, line.number, line.saga)] = line
        while self._under_way:
            yield from self._some_ended()

    def waiting(self) -> str | None:
        """The reason why one of these sagas waits, or None where none of them does."""
        for line in list(self._under_way.values()):
            found = None if line.saga is None else self._orchestrator.get_saga(line.saga.id)
            if found is not None and found.waiting:
                return f"{found.id} waits: {found.waiting}"
        return None

    def _some_ended(self) -> Iterator[Result | None]:
        ended, _ = wait(self._under_way, timeout=QUIET_S, return_when=FIRST_COMPLETED)
        if not ended:
            yield None
        for each in ended:
            result = each.result()
            del self._under_way[each]
            yield result

    def _settle(self, number: int, saga: SagaDefinition) -> Result:
        try:
            self._orchestrator.execute(saga, if_live="join")
        except CompensationFailedError as error:
            why = f"the undo of {error.step_name} failed"
            return Result(number, saga.id, SagaStatus.FAILED, str(error), why)
        except SagaError as error:
            return Result(number, saga.id, SagaStatus.COMPENSATED, str(error), _why(error))
        except SystemStateError:
            raise
        except (RequestError, ValueError, TypeError) as error:
            return Result(number, saga.id, None, str(error))
        return Result(number, saga.id, SagaStatus.COMPLETED)


def _why(error: SagaError) -> str:
    """A short reason that many sagas may share."""
    kind = type(error).__name__.removesuffix("Error")
    name = getattr(error, "step_name", None)
    if isinstance(error, StepFailedError):
        return f"{name} failed: {error.error_type}"
    return kind if name is None else f"{name}: {kind}"
