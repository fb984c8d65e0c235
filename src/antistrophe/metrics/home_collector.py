"""The collector: what the journal of a home and its running system say, as metrics of prometheus_client."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from antistrophe.client.stored_home import stored_place
from antistrophe.errors import JournalError
from antistrophe.journal import JournalPlace, open_store
from antistrophe.journal.present_numbers import PresentNumbers, PresentNumbersReader
from antistrophe.journal.statistics_follower import StatisticsFollower
from antistrophe.metrics.families import BUCKETS, FAMILIES, Family, Kind
from antistrophe.metrics.running_system import RunningSystem, ask
from antistrophe.saga.durations import Durations
from antistrophe.saga.statistics import OTHER, AttemptOutcome, KillCause, SagaEvent, SagaStatistics
from antistrophe.saga.wait_reasons import WaitReason

log = logging.getLogger("antistrophe")

Samples: TypeAlias = dict[str, dict[tuple[str, ...], Any]]
"""The values of each metric by its labels: numbers, and of a histogram ``Durations``."""

_CATCH_UP_S = 0.05
_PATIENCE_S = 0.25


class HomeCollector(Collector):
    """A collector of prometheus_client for one home. Any number of scrapes may run at once."""

    def __init__(self, home: Path, journal: str | None = None) -> None:
        self._home = home
        self._url = journal
        self._lock = threading.Lock()
        self._follower: StatisticsFollower | None = None
        self._present = PresentNumbersReader()
        self._files = 0
        self._said: str | None = None

    def describe(self) -> Iterable[Metric]:
        """The metrics without samples: a registry reads the journal when it is scraped, and not before."""
        return [_FORMS[family.kind](family.name, family.says, labels=family.labels) for family in FAMILIES]

    def collect(self) -> Iterator[Metric]:
        """The metrics now. What can't be had is absent, and nothing is raised."""
        samples = _of_system(ask(self._home))
        with self._lock:
            try:
                samples |= self._of_journal(stored_place(self._home, self._url))
                problem = None
            except (JournalError, OSError) as error:
                problem = str(error)
            samples["antistrophe_journal_readable"] = {(): float(problem is None)}
            metrics = [_metric(family, samples[family.name]) for family in FAMILIES if family.name in samples]
        if problem is not None and problem != self._said:
            log.warning("metrics of %s: the journal can't be read: %s", self._home, problem)
        self._said = problem
        yield from metrics

    def _of_journal(self, place: JournalPlace) -> Samples:
        """Read on in the journal. Raises JournalError."""
        follower = self._follower = self._follower or StatisticsFollower(place)
        with closing(open_store(place, read_only=True, patience_s=_PATIENCE_S)) as database:
            follower.catch_up_in(database, _CATCH_UP_S)
            if follower.files != self._files:
                self._files = follower.files
                self._present.forget()
            present = self._present.read(database)
        sizes: Samples = {}
        if (size := place.size_bytes()) is not None:
            sizes["antistrophe_journal_file_bytes"] = {(): size}
            sizes["antistrophe_journal_log_bytes"] = {(): place.log_bytes()}
        return {
            **_of_statistics(follower.statistics),
            **_of_present(present, follower.statistics, time.time()),
            **sizes,
            "antistrophe_journal_unread_entries": {(): follower.behind},
            "antistrophe_journal_unreadable_entries_total": {(): follower.unreadable},
        }


def _of_system(system: RunningSystem) -> Samples:
    samples: Samples = {"antistrophe_up": {(): float(system.up)}}
    if system.processes is not None:
        samples["antistrophe_step_processes"] = {(state,): number for state, number in system.processes.items()}
    if system.commits is not None:
        number, seconds = system.commits
        samples["antistrophe_journal_commits_total"] = {(): number}
        samples["antistrophe_journal_commit_seconds_total"] = {(): seconds}
    if system.registry_lag_s is not None:
        samples["antistrophe_registry_lag_seconds"] = {(): system.registry_lag_s}
    return samples


def _of_statistics(found: SagaStatistics) -> Samples:
    """The counters. What has a label in one of them has a 0 in the others, so that its first increase is seen."""
    names = {name for name, _ in found.sagas}
    classes = {step_class for step_class, _, _ in found.attempts} | {step_class for step_class, _ in found.kills}
    calls = {(step_class, action) for step_class, action, _ in found.attempts}
    samples: Samples = {
        f"antistrophe_sagas_{event.value}_total": {(name,): found.sagas[name, event] for name in names}
        for event in SagaEvent
    }
    return samples | {
        "antistrophe_saga_duration_seconds": {
            (name, end.value): durations for (name, end), durations in found.saga_durations.items()
        },
        "antistrophe_attempt_duration_seconds": {
            (step_class, action.value): durations for (step_class, action), durations in found.attempt_durations.items()
        },
        "antistrophe_attempts_total": {
            (step_class, action.value, outcome.value): found.attempts[step_class, action, outcome]
            for step_class, action in calls
            for outcome in AttemptOutcome
        },
        "antistrophe_retries_total": {
            (step_class, action.value): found.retries[step_class, action] for step_class, action in calls
        },
        "antistrophe_kills_total": {
            (step_class, cause.value): found.kills[step_class, cause] for step_class in classes for cause in KillCause
        },
        "antistrophe_doubts_total": {(step_class,): found.doubts[step_class] for step_class in classes},
    }


def _of_present(present: PresentNumbers, statistics: SagaStatistics, now: float) -> Samples:
    sagas: Counter[tuple[str, ...]] = Counter()
    for (status, name), number in present.sagas.items():
        sagas[status.value, OTHER if name is None else statistics.name_label(name)] += number
    waiting: dict[tuple[str, ...], int] = {(reason.value,): present.waiting[reason] for reason in WaitReason}
    return {
        "antistrophe_sagas": dict(sagas),
        "antistrophe_steps_in_doubt": {(): present.steps_in_doubt},
        "antistrophe_oldest_parked_seconds": {(): _age(present.oldest_parked_at, now)},
        "antistrophe_oldest_waiting_seconds": {(): _age(present.oldest_waiting_at, now)},
        "antistrophe_queue_length": waiting,
    }


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)


_FORMS: dict[Kind, Callable[..., Any]] = {
    Kind.GAUGE: GaugeMetricFamily,
    Kind.COUNTER: CounterMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}


def _metric(family: Family, values: dict[tuple[str, ...], Any]) -> Metric:
    metric: Metric = _FORMS[family.kind](family.name, family.says, labels=family.labels)
    for labels, value in sorted(values.items()):
        metric.add_metric(labels, *(_buckets(value) if isinstance(value, Durations) else (value,)))  # type: ignore[attr-defined]
    return metric


def _buckets(durations: Durations) -> tuple[list[tuple[str, int]], float]:
    return list(zip(BUCKETS, accumulate(durations.counts), strict=True)), durations.sum_s
