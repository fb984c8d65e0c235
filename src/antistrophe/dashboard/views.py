"""The views: what each page shows at a moment, by its name and the query of its address, as values for its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from antistrophe.dashboard.hosts import hosts_shown
from antistrophe.dashboard.limits import limits_now
from antistrophe.dashboard.look import Look
from antistrophe.dashboard.overview import attention, storage
from antistrophe.dashboard.processes import processes
from antistrophe.dashboard.saga_filter import LONGEST, find, parse_filter
from antistrophe.dashboard.saga_page import saga_page
from antistrophe.dashboard.standing import Standing
from antistrophe.dashboard.step_classes import StepClass, add_limits, step_classes
from antistrophe.dashboard.stored import StoredHome
from antistrophe.errors import JournalError, RequestError
from antistrophe.journal.growth import growth_in
from antistrophe.journal.present_numbers import looked_at
from antistrophe.launcher.control_protocol import Ready
from antistrophe.records import SagaMetadata, SagaStatus
from antistrophe.saga.entries import AttemptStarted

Values = dict[str, Any]
Query = Mapping[str, str]

MOST_RUNNING = 8
MOST_WAITED_FOR = 5


def system_values(standing: Standing) -> Values:
    """What stands at the top of every page: who works on the sagas. An order needs the system of this home."""
    takes_orders = isinstance(standing.state, Ready)
    return {"system": standing.says, "system_level": standing.level, "takes_orders": takes_orders}


def _overview(stored: StoredHome, look: Look, _query: Query) -> Values:
    counts = stored.counts(look)
    classes = _classes(stored, look)
    limits = limits_now(stored, look, waiting=True, most=MOST_WAITED_FOR)
    growth = growth_in(look.database, look.place, sum(counts.values()))
    return {
        "counts": counts,
        "attention": attention(look, counts, stored.standing(), classes, limits, growth),
        "limits": limits,
        "running": _running(look),
        "classes": [each for each in classes if each.failures or each.undo_failures][:6],
        "storage": storage(growth),
    }


def _running(look: Look) -> list[SagaMetadata]:
    """Sagas that have not ended: those that compensate, those of which an attempt runs, then the last accepted."""
    found: list[SagaMetadata] = []
    for status in (SagaStatus.COMPENSATING, SagaStatus.EXECUTING):
        last = [saga.id for saga in look.journal.list(status=status, limit=MOST_RUNNING).sagas]
        working = [row[0] for row in looked_at(look.database, status.value) if row[4] == AttemptStarted.__name__]
        chosen = list(dict.fromkeys((*working[: MOST_RUNNING - len(found)], *last)))[: MOST_RUNNING - len(found)]
        sagas = map(look.journal.metadata, chosen)
        found += [saga for saga in sagas if saga is not None and saga.status.running]
    return found


def _sagas(stored: StoredHome, look: Look, query: Query) -> Values:
    chosen = parse_filter(query)
    found = find(look.journal, chosen, query.get("cursor") or None)
    counts = stored.counts(look)
    return {
        "chosen": chosen,
        "found": found,
        "counts": counts,
        "total": sum(counts.values()),
        "cursor": query.get("cursor"),
    }


def _saga(stored: StoredHome, look: Look, query: Query) -> Values:
    page = saga_page(look, stored, query.get("id", ""))
    return {"page": page, "saga": page.saga}


def _limits(stored: StoredHome, look: Look, query: Query) -> Values:
    text = query.get("text", "")
    if len(text) > LONGEST:
        raise RequestError(f"what is looked for may have {LONGEST:,} characters")
    return {"limits": limits_now(stored, look, text=text), "text": text}


def _hosts(stored: StoredHome, _look: Look, _query: Query) -> Values:
    return {"shown": hosts_shown(stored.standing().hosts)}


def _steps(stored: StoredHome, look: Look, _query: Query) -> Values:
    classes = _classes(stored, look)
    add_limits(look, classes)
    return {"classes": classes}


def _processes(stored: StoredHome, look: Look, _query: Query) -> Values:
    return {"processes": processes(stored.home, stored.running_sagas(look)[0], stored.state())}


def _classes(stored: StoredHome, look: Look) -> list[StepClass]:
    follower = stored.statistics(look)
    return [] if follower is None else step_classes(follower.statistics)


VIEWS: dict[str, Callable[[StoredHome, Look, Query], Values]] = {
    "overview": _overview,
    "sagas": _sagas,
    "saga": _saga,
    "steps": _steps,
    "limits": _limits,
    "hosts": _hosts,
    "processes": _processes,
}

RESTLESS = frozenset({"limits", "hosts", "processes"})
"""The views that show more than the journal and the state of the system."""

_WITHOUT_JOURNAL: dict[str, Callable[[StoredHome, Query], Values]] = {
    "limits": lambda _stored, query: {"text": query.get("text", "")},
    "processes": lambda stored, _query: {"processes": processes(stored.home, (), stored.state())},
}
"""What a view shows where the journal can't be read, beside the reason."""


def values_of(view: str, stored: StoredHome, query: Query) -> Values:
    """What a view shows now. Where the journal can't be read, ``journal_problem`` says why, and the view shows nothing
    that stands in the journal. Raises RequestError for a query that makes no sense, and SagaNotFoundError."""
    try:
        with stored.look() as look:
            return {"journal_problem": None, **VIEWS[view](stored, look, query)}
    except JournalError as error:
        shown = _WITHOUT_JOURNAL[view](stored, query) if view in _WITHOUT_JOURNAL else {}
        return {"journal_problem": str(error), **shown}
