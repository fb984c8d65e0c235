"""When an application sends a request again: a large definition takes its time to travel."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from antistrophe.client.request_reply import Requests
from antistrophe.definition.spec import Origin, SagaSpec
from antistrophe.settings import Settings
from tests.core.saga_kit import step


def resend_s(*inputs: int) -> float:
    attachment = SimpleNamespace(on_change=lambda _: None, settings=Settings(), client_id="c", home=Path("/home"))
    steps = tuple(step(f"step {number}", input=b"x" * size) for number, size in enumerate(inputs))
    spec = SagaSpec("s", "n", None, True, steps, Origin(None, (), "/"))
    return Requests(cast(Any, attachment), resend_s=1.0)._start_request(spec, join=False, wait=True).resend_s


def test_a_large_definition_has_more_time_before_it_is_sent_again() -> None:
    assert resend_s() == 1.0
    assert 1.0 < resend_s(100, 100) < 1.001
    assert resend_s(*([2**20] * 40)) == 11.0
