"""A message that can't be sent fails alone: the messages beside it go out, and who waits for it is told."""

from __future__ import annotations

from typing import Any, cast

import pytest
from thespian.actors import ActorAddress

from antistrophe.actors.base import RuntimeActor
from antistrophe.errors import PayloadTooLargeError
from antistrophe.messages import Done, LifecycleReport, Rejected, SagaOutcome
from antistrophe.records import SagaStatus
from antistrophe.saga.outcome import Outcome

TO = ActorAddress("somebody")


class Ref:
    """What Thespian gives an actor to send by. It takes no outcome, as if each were too large."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def actor_send(self, to: Any, message: Any) -> None:
        if isinstance(message, SagaOutcome):
            raise PayloadTooLargeError("a message of 300000000 bytes is over the limit of 268435456")
        self.sent.append(message)


class Sending(RuntimeActor):
    """An actor that only sends."""

    def __init__(self, ref: Ref) -> None:
        self._myRef = ref


def test_what_can_not_be_sent_is_told_to_who_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    ref = Ref()
    actor = Sending(ref)
    first, last = LifecycleReport(1), Done("d", 7, True)
    for message in (first, SagaOutcome("c", Outcome("s", SagaStatus.COMPLETED), 3), last):
        actor.send(cast(Any, TO), message)
    refusal = ref.sent[1]
    assert ref.sent == [first, refusal, last]
    assert isinstance(refusal, Rejected)
    assert (refusal.correlation, refusal.error) == ("c", "PayloadTooLargeError")
    assert "the answer (SagaOutcome) can't be sent: a message of 300000000 bytes" in refusal.text
    assert "a message (SagaOutcome) can't be sent: " in caplog.text
