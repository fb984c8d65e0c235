"""An application that appends the events of a saga by hand is refused, because the saga has stored them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from antistrophe.cqrs import EventStore
from antistrophe.definition.events import event
from antistrophe.errors import RequestError


@event("copies.debited")
@dataclass(frozen=True)
class Debited:
    amount: int


EVENTS = [Debited(1), Debited(2)]


@pytest.fixture
def store() -> Iterator[EventStore]:
    """A store in which saga "transfer-1" has stored two events under its id."""
    with EventStore(":memory:") as opened:
        opened.append("transfer-1", EVENTS, metadata={"saga_id": "transfer-1", "step": "Debit"})
        yield opened


def test_the_same_events_are_refused_with_what_to_do(store: EventStore) -> None:
    for events in (EVENTS, EVENTS[1:]):
        with pytest.raises(RequestError, match=r"'transfer-1' has these events already: .* Leave this append out"):
            store.append("transfer-1", events)
    assert store.get_events("transfer-1") == EVENTS


def test_who_wants_a_copy_says_at_which_version(store: EventStore) -> None:
    assert store.append("transfer-1", EVENTS, expected_version=2) == 4


@pytest.mark.parametrize(
    "events",
    [[Debited(3)], [Debited(2), Debited(2)], [Debited(1)], [Debited(0), *EVENTS], []],
    ids=["another", "one is another", "not the last one", "more of them", "none"],
)
def test_other_events_are_appended(store: EventStore, events: list[Debited]) -> None:
    assert store.append("transfer-1", events) == 2 + len(events)


def test_events_that_no_saga_of_that_id_has_stored_may_come_twice(store: EventStore) -> None:
    store.append("account A", EVENTS, metadata={"saga_id": "transfer-1"})
    store.append("account B", EVENTS)
    assert (store.append("account A", EVENTS), store.append("account B", EVENTS)) == (4, 4)
