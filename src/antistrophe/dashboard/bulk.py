"""An order to many sagas: first a preview of exactly those that it will hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from antistrophe.dashboard.saga_filter import SagaFilter, find, parse_filter
from antistrophe.dashboard.stored import StoredHome
from antistrophe.errors import RequestError
from antistrophe.records import SagaMetadata, SagaStatus

MOST = 500
"""An order hits no more sagas than a person can look through; the rest is ordered in another turn."""

_PREVIEW_S = 2.0
_STATUS = {"cancel": SagaStatus.EXECUTING, "retry": SagaStatus.FAILED}


@dataclass(frozen=True, slots=True)
class Preview:
    """The sagas that were chosen and can take the order; ``more``: there are others that are not shown."""

    order: str
    chosen: SagaFilter
    sagas: tuple[SagaMetadata, ...]
    more: bool


def preview(stored: StoredHome, query: Mapping[str, str]) -> Preview:
    """Whom an order to all that were chosen would hit. Raises RequestError and JournalError."""
    order = query.get("order", "")
    if order not in _STATUS:
        raise RequestError(f"an order to many sagas is one of {', '.join(_STATUS)}, not {order!r}")
    chosen = parse_filter(query)
    status = _STATUS[order].value
    if chosen.status not in ("", status):
        return Preview(order, chosen, (), more=False)
    with stored.look() as look:
        found = find(look.journal, chosen.with_status(status), None, MOST, _PREVIEW_S)
    return Preview(order, chosen, found.sagas, more=found.cursor is not None)
