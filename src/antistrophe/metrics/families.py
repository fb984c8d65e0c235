"""The table of the metrics: name, kind, labels and meaning of each. Everything else is made or checked by it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from antistrophe.records import SagaStatus
from antistrophe.saga.durations import BUCKETS_S
from antistrophe.saga.entries import Action
from antistrophe.saga.statistics import AttemptOutcome, KillCause, SagaEvent
from antistrophe.saga.wait_reasons import WaitReason


class Kind(str, Enum):
    """What Prometheus may do with a metric."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. ``asked``: it is known to the running system alone, and absent where the system does not answer."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    says: str
    asked: bool = False


PROCESS_STATES = ("working", "idle")

VALUES: dict[str, tuple[str, ...]] = {
    "end": tuple(event.value for event in SagaEvent if event is not SagaEvent.ACCEPTED),
    "status": tuple(status.value for status in SagaStatus if status is not SagaStatus.NOT_STARTED),
    "outcome": tuple(outcome.value for outcome in AttemptOutcome),
    "action": tuple(action.value for action in Action),
    "cause": tuple(cause.value for cause in KillCause),
    "reason": tuple(reason.value for reason in WaitReason),
    "state": PROCESS_STATES,
}
"""Labels with a closed list of values."""

_ENDED = "the saga's acceptance and the moment when it was completed, compensated or parked"

FAMILIES = (
    Family("antistrophe_up", Kind.GAUGE, (), "1 where the actor system takes requests, else 0."),
    Family(
        "antistrophe_journal_readable",
        Kind.GAUGE,
        (),
        "1 where the journal could be read, else 0; then the metrics that come from it are absent.",
    ),
    Family(
        "antistrophe_sagas",
        Kind.GAUGE,
        ("status", "name"),
        "Sagas in the journal. Finished ones have the name `other` where there are more than 20,000.",
    ),
    Family("antistrophe_sagas_accepted_total", Kind.COUNTER, ("name",), "Sagas that were accepted."),
    Family("antistrophe_sagas_completed_total", Kind.COUNTER, ("name",), "Sagas that were completed."),
    Family("antistrophe_sagas_compensated_total", Kind.COUNTER, ("name",), "Sagas that were compensated."),
    Family("antistrophe_sagas_parked_total", Kind.COUNTER, ("name",), "Times that a saga was parked."),
    Family(
        "antistrophe_saga_duration_seconds",
        Kind.HISTOGRAM,
        ("name", "end"),
        f"Time between {_ENDED}, which `end` says.",
    ),
    Family(
        "antistrophe_attempt_duration_seconds",
        Kind.HISTOGRAM,
        ("step_class", "action"),
        "Time from the intent of an attempt to its end in the journal.",
    ),
    Family(
        "antistrophe_attempts_total", Kind.COUNTER, ("step_class", "action", "outcome"), "Attempts that have ended."
    ),
    Family("antistrophe_retries_total", Kind.COUNTER, ("step_class", "action"), "Attempts that were ordered again."),
    Family(
        "antistrophe_kills_total",
        Kind.COUNTER,
        ("step_class", "cause"),
        "Attempts whose process was ended before they were over: past their limit (`timeout`), because of a cancel, by"
        " a stop or the death of the `system`, or by a `signal` of somebody else.",
    ),
    Family("antistrophe_doubts_total", Kind.COUNTER, ("step_class",), "Attempts after which a step was in doubt."),
    Family(
        "antistrophe_steps_in_doubt",
        Kind.GAUGE,
        (),
        "Steps of unfinished and parked sagas that are in doubt, and not compensated or resolved.",
    ),
    Family(
        "antistrophe_oldest_parked_seconds", Kind.GAUGE, (), "How long the first of the parked sagas is parked; else 0."
    ),
    Family(
        "antistrophe_oldest_waiting_seconds",
        Kind.GAUGE,
        (),
        "How long the saga waits that has waited longest, for anything but the time of a retry; else 0.",
    ),
    Family(
        "antistrophe_queue_length",
        Kind.GAUGE,
        ("reason",),
        "Sagas that wait: for their `turn`, a free `process`, within the `limits` of a step class, for the time of a"
        " `retry`, the `ending` of a process, or for `code` or input that fits again.",
    ),
    Family("antistrophe_journal_file_bytes", Kind.GAUGE, (), "Size of `journal.db`."),
    Family("antistrophe_journal_log_bytes", Kind.GAUGE, (), "Size of its write-ahead log, `journal.db-wal`."),
    Family(
        "antistrophe_journal_unread_entries",
        Kind.GAUGE,
        (),
        "Entries of the journal that the counters do not have yet: a scrape reads on for 50 ms at most.",
    ),
    Family(
        "antistrophe_journal_unreadable_entries_total",
        Kind.COUNTER,
        (),
        "Entries that could not be read, and are in no counter.",
    ),
    Family(
        "antistrophe_step_processes",
        Kind.GAUGE,
        ("state",),
        "Step processes and async workers, `working` or `idle`.",
        asked=True,
    ),
    Family(
        "antistrophe_journal_commits_total",
        Kind.COUNTER,
        (),
        "Transactions that the saga hosts have committed, as of their last reports.",
        asked=True,
    ),
    Family(
        "antistrophe_journal_commit_seconds_total",
        Kind.COUNTER,
        (),
        "Seconds that these commits took; by their number it is the time of one.",
        asked=True,
    ),
    Family(
        "antistrophe_registry_lag_seconds",
        Kind.GAUGE,
        (),
        "How long the registry took to say how far the journal has come: what monitoring lags behind.",
        asked=True,
    ),
)

BUCKETS = (*map(str, BUCKETS_S), "+Inf")
"""The bounds of the histograms' buckets, in seconds."""
