"""The views: what each page shows at a moment, by its name and the query of its address, as values for its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from antistrophe.dashboard.overview import attention, storage
from antistrophe.dashboard.processes import processes
from antistrophe.dashboard.saga_filter import find, parse_filter
from antistrophe.dashboard.saga_page import saga_page
from antistrophe.dashboard.step_classes import StepClass, add_limits, step_classes
from antistrophe.dashboard.stored import Look, StoredHome
from antistrophe.errors import JournalError
from antistrophe.journal.growth import growth_in
from antistrophe.launcher.control_protocol import Ready, State
from antistrophe.records import SagaMetadata, SagaStatus

Values = dict[str, Any]
Query = Mapping[str, str]

MOST_RUNNING = 8


def system_values(state: State | None) -> Values:
    """What stands at the top of every page: whether the system runs."""
    word = "stopped" if state is None else type(state).__name__.lower()
    return {"system": word, "system_good": isinstance(state, Ready)}


def _overview(stored: StoredHome, look: Look, _query: Query) -> Values:
    counts = stored.counts(look)
    classes = _classes(stored, look)
    growth = growth_in(look.database, look.place, sum(counts.values()))
    return {
        "counts": counts,
        "attention": attention(look, counts, stored.state(), classes, growth),
        "running": _running(look),
        "classes": [each for each in classes if each.failures or each.undo_failures][:6],
        "storage": storage(growth),
    }


def _running(look: Look) -> list[SagaMetadata]:
    """The sagas that were accepted last of those that run, those that compensate first."""
    found: list[SagaMetadata] = []
    for status in (SagaStatus.COMPENSATING, SagaStatus.EXECUTING):
        found += (
            look.journal.list(status=status, limit=MOST_RUNNING - len(found)).sagas if len(found) < MOST_RUNNING else ()
        )
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
    page = saga_page(look, stored.home, query.get("id", ""), system_runs=stored.runs)
    return {"page": page, "saga": page.saga}


def _steps(stored: StoredHome, look: Look, _query: Query) -> Values:
    classes = _classes(stored, look)
    add_limits(look, classes)
    return {"classes": classes}


def _processes(stored: StoredHome, look: Look, _query: Query) -> Values:
    return {"processes": processes(stored.home, look, stored.state())}


def _classes(stored: StoredHome, look: Look) -> list[StepClass]:
    follower = stored.statistics(look)
    return [] if follower is None else step_classes(follower.statistics)


VIEWS: dict[str, Callable[[StoredHome, Look, Query], Values]] = {
    "overview": _overview,
    "sagas": _sagas,
    "saga": _saga,
    "steps": _steps,
    "processes": _processes,
}

_EMPTY: dict[str, Values] = {
    "overview": {
        "counts": dict.fromkeys((status for status in SagaStatus if status is not SagaStatus.NOT_STARTED), 0),
        "attention": [],
        "running": (),
        "classes": [],
        "storage": [],
    },
    "steps": {"classes": []},
}


def values_of(view: str, stored: StoredHome, query: Query) -> Values:
    """What a view shows now. Where the journal can't be read, ``journal_problem`` says why, and the view is as empty as
    it can be. Raises RequestError for a query that makes no sense, and SagaNotFoundError."""
    try:
        with stored.look() as look:
            return {"journal_problem": None, **VIEWS[view](stored, look, query)}
    except JournalError as error:
        problem = {"journal_problem": str(error)}
        if view == "processes":
            return {**problem, "processes": processes(stored.home, None, stored.state())}
        return {**problem, **_EMPTY.get(view, {})}
