"""Which sagas a list shows: what a person chose, as it stands in the address of the page, and the search for them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from antistrophe.errors import RequestError
from antistrophe.journal import StoredJournal
from antistrophe.narration.times import timedelta_of
from antistrophe.records import SagaMetadata, SagaStatus, StepStatus

PAGE = 50
LONGEST = 2_000
SEARCH_S = 0.12
"""A search that few sagas answer to stops after so many seconds, and says so: the next page goes on from there."""

_WORKING = (StepStatus.RUNNING, StepStatus.COMPENSATING)
_NEXT_ATTEMPT = "the next attempt to "


@dataclass(frozen=True, slots=True)
class SagaFilter:
    """What a person chose. An empty text, or False, chooses nothing.

    ``older`` is a duration such as `2h`: accepted that long ago or longer. ``waiting``: it waits, and ``why`` stands
    in its reason.
    """

    status: str = ""
    name: str = ""
    text: str = ""
    step: str = ""
    why: str = ""
    older: str = ""
    doubt: bool = False
    waiting: bool = False
    retrying: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether only sagas can be meant that have not finished."""
        return self.doubt or self.waiting or self.retrying or bool(self.why)

    @property
    def chooses(self) -> bool:
        """Whether anything was chosen."""
        return self != SagaFilter()

    def query(self, **others: str) -> str:
        """As it stands in an address."""
        chosen = {each.name: getattr(self, each.name) for each in fields(self)}
        return urlencode(
            {name: "1" if value is True else value for name, value in {**chosen, **others}.items() if value}
        )

    def with_status(self, status: str) -> SagaFilter:
        """The same for another status."""
        return replace(self, status=status)

    def words(self) -> list[str]:
        """What was chosen, in words."""
        said = [self.status] if self.status else []
        said += [f"{what} {value!r}" for what, value in (("name", self.name), ("with", self.text)) if value]
        said += [f"step {self.step!r}"] if self.step else []
        said += ["in doubt"] if self.doubt else []
        said += [f"waiting: {self.why}" if self.why else "waiting"] if self.waiting or self.why else []
        said += ["retrying"] if self.retrying else []
        return said + ([f"older than {self.older}"] if self.older else [])


@dataclass(frozen=True, slots=True)
class Found:
    """A page of sagas. ``looked_at``: so many were read for it. ``cursor``: where the next page begins, or None.
    ``stopped``: the search took too long, and there may be more matches behind the cursor."""

    sagas: tuple[SagaMetadata, ...]
    cursor: str | None
    looked_at: int
    stopped: bool


def parse_filter(query: Mapping[str, str]) -> SagaFilter:
    """What stands in an address. Raises RequestError for a status or a duration that is none."""
    values: dict[str, Any] = {
        each.name: query.get(each.name, "") not in ("", "0") if each.default is False else query.get(each.name, "")
        for each in fields(SagaFilter)
    }
    chosen = SagaFilter(**values)
    words = [status.value for status in SagaStatus if status is not SagaStatus.NOT_STARTED]
    if any(len(getattr(chosen, name)) > LONGEST for name in ("name", "text", "step", "why")):
        raise RequestError(f"what is looked for may have {LONGEST:,} characters")
    if chosen.status and chosen.status not in words:
        raise RequestError(f"there is no status {chosen.status!r}: choose one of {', '.join(words)}")
    if chosen.older:
        try:
            timedelta_of(chosen.older)
        except ValueError as error:
            raise RequestError(str(error)) from error
    return chosen


def find(
    journal: StoredJournal, chosen: SagaFilter, cursor: str | None, limit: int = PAGE, within_s: float = SEARCH_S
) -> Found:
    """The sagas that were chosen, the last accepted first. Raises RequestError for a wrong cursor, and JournalError."""
    until = time.monotonic() + within_s
    wanted = None if not chosen.status else SagaStatus(chosen.status)
    accepted_by = _moment_before(chosen.older)
    found: list[SagaMetadata] = []
    looked_at = 0
    while True:
        page = journal.list(
            status=wanted,
            name=chosen.name or None,
            text=chosen.text or None,
            unfinished=chosen.unfinished and wanted is None,
            accepted_by=accepted_by,
            limit=limit - len(found),
            cursor=cursor,
        )
        looked_at += len(page.sagas)
        found += [saga for saga in page.sagas if matches(saga, chosen)]
        cursor = page.cursor
        if cursor is None or len(found) >= limit:
            return Found(tuple(found), cursor, looked_at, stopped=False)
        if time.monotonic() > until:
            return Found(tuple(found), cursor, looked_at, stopped=True)


def _moment_before(older: str) -> datetime | None:
    """So long ago; None where nothing was chosen. Before the first year there is nothing."""
    if not older:
        return None
    try:
        return datetime.now(UTC) - timedelta_of(older)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def matches(saga: SagaMetadata, chosen: SagaFilter) -> bool:
    """Whether the saga is one of those that no index finds."""
    if chosen.step and not any(step.name == chosen.step for step in saga.steps):
        return False
    if chosen.doubt and not in_doubt(saga):
        return False
    if (chosen.waiting or chosen.why) and not waits(saga, chosen.why):
        return False
    return not chosen.retrying or retries(saga)


def in_doubt(saga: SagaMetadata) -> bool:
    """Whether nobody knows of one of its steps whether it took effect, and it is not undone."""
    return not saga.status.final and any(
        step.in_doubt and step.status not in (StepStatus.COMPENSATED, StepStatus.RESOLVED) for step in saga.steps
    )


def waits(saga: SagaMetadata, why: str = "") -> bool:
    """Whether the saga waits, with that text in its reason (the case of letters does not matter)."""
    return saga.waiting is not None and saga.status.running and why.casefold() in saga.waiting.casefold()


def retries(saga: SagaMetadata) -> bool:
    """Whether it waits for another attempt, or makes it now."""
    if not saga.status.running:
        return False
    again = any(step.status in _WORKING and (step.attempts > 1 or step.undo_failures > 0) for step in saga.steps)
    return again or (saga.waiting or "").startswith(_NEXT_ATTEMPT)
