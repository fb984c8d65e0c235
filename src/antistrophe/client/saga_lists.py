"""Lists of sagas as an application reads them: in parts that fit into messages, until there are as many as it wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from antistrophe.messages import SagaList
from antistrophe.records import SagaMetadata, SagaPage
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER

if TYPE_CHECKING:
    from antistrophe.client.request_reply import Requests


def listed(
    requests: Requests,
    query: Callable[[str, str | None, int], Any],
    limit: int = LARGEST_INTEGER,
    cursor: str | None = None,
) -> SagaPage:
    """At most ``limit`` sagas behind a cursor. ``query`` makes the query of a correlation, a cursor, and how many sagas
    are still wanted."""
    found: list[SagaMetadata] = []
    while True:
        left = limit - len(found)
        part = requests.ask(
            lambda correlation, cursor=cursor, left=left: query(correlation, cursor, left),  # type: ignore[misc]
            SagaList,
        )
        found += part.sagas
        cursor = part.cursor
        if cursor is None or len(found) >= limit:
            return SagaPage(tuple(found), cursor)
