"""What an actor has only read of its saga: it may be gone with the server that had it."""

from __future__ import annotations

import pytest

from antistrophe.messages import BeginSaga, Done, Rejected, RequestLease, ResumeSaga, SagaOrder, Waiter
from antistrophe.saga.inputs import CancelAsked
from tests.core.saga_kit import step
from tests.core.test_saga_actor import Host, answer, grant, spec


@pytest.fixture
def host() -> Host:
    return Host()


def test_an_order_that_changes_nothing_is_told_so_once_what_was_read_is_confirmed(host: Host) -> None:
    order = SagaOrder("s", CancelAsked("no", "me"), Waiter("client", "1"))
    host.start(BeginSaga("r", spec(step(fresh_process=True), step()), grant("a")))
    host.tell(answer("a"))
    host.tell(order)
    host.start(ResumeSaga("s"))  # another actor, which reads and waits for a process
    host.sent.clear()
    host.unconfirmed = True
    host.tell(order)
    assert [each.error for each in host.told(Rejected)] == ["CommitUnknownError"]
    host.unconfirmed = False
    host.tell(order)
    host.unconfirmed = True
    host.tell(order)
    assert [each.effect for each in host.told(Done)] == [False, False], "what is confirmed stays so"


def test_a_saga_whose_last_entries_are_gone_is_read_again_at_once(host: Host) -> None:
    """Another server has taken over, and nobody else is at the saga."""
    host.start(BeginSaga("r", spec(step(), step()), grant("a")))
    del host.entries[1:]
    host.sent.clear()
    host.tell(answer("a"))
    assert len(host.told(RequestLease)) == 1
    host.tell(grant("b"))
    assert [each.at for each in host.entries[1:]] == [host.time]
