"""Names that can't be stored as text are refused by name, wherever the event store and the command bus take one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from antistrophe.cqrs import Appends, CommandBus
from antistrophe.definition.events import event
from antistrophe.eventstore.store import EventStore


@event("names.credited")
@dataclass(frozen=True)
class Credited:
    account: str
    amount: int


@dataclass(frozen=True)
class Credit:
    stream: str


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(":memory:" if request.param == "memory" else tmp_path / "events.db") as opened:
        yield opened


def test_a_name_that_can_not_be_stored_is_refused_by_name(store: EventStore) -> None:
    bad = "order-\udcff"
    uses = (
        lambda: store.append(bad, [Credited("A", 1)]),
        lambda: store.read_stream(bad),
        lambda: store.get_events(bad),
        lambda: store.get_events_after(bad, 0),
        lambda: store.version(bad),
        lambda: store.save_snapshot(bad, 1, {}),
        lambda: store.get_latest_snapshot(bad),
    )
    for use in uses:
        with pytest.raises(ValueError, match=r"no stream can be called 'order-\\udcff'.*lone surrogate") as caught:
            use()
        assert type(caught.value) is ValueError
    with pytest.raises(ValueError, match="no stream can be called"), store.transaction() as transaction:
        transaction.append(bad, [Credited("A", 1)])
    assert store.head() == 0


def test_a_key_or_a_stream_of_a_command_that_can_not_be_stored_is_refused(store: EventStore) -> None:
    bus = CommandBus(store)
    handled: list[str] = []

    @bus.handles(Credit)
    def credit(command: Credit) -> Appends:
        handled.append(command.stream)
        return Appends(command.stream, [Credited("A", 1)])

    with pytest.raises(ValueError, match=r"idempotency key with a lone surrogate can't be stored: 'k\\udc80'"):
        bus.dispatch(Credit("a"), idempotency_key="k\udc80")
    assert handled == []
    for key in (None, "key"):
        with pytest.raises(ValueError, match="no stream can be called"):
            bus.dispatch(Credit("b\udc80"), idempotency_key=key)
    assert store.head() == 0
    bus.dispatch(Credit("c"), idempotency_key="key")
    assert store.head() == 1, "what failed keeps no key"
