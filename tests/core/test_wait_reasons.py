"""The kinds of reasons to wait fit the texts that the code makes."""

from __future__ import annotations

from typing import Any

import pytest

from antistrophe.saga.inputs import CancelAsked, ProcessRefused
from antistrophe.saga.view import metadata_of
from antistrophe.saga.wait_reasons import WaitReason, reason_in
from antistrophe.scheduling.admission import Admission, AdmissionRank
from tests.core.saga_kit import Told, attempts, step


def waiting(told: Told) -> str:
    found = metadata_of(told.saga).waiting
    assert found is not None
    return found


def test_a_saga_that_waits_for_a_process() -> None:
    assert reason_in(waiting(Told(step()))) is WaitReason.PROCESS


@pytest.mark.parametrize("limits", [{"max_concurrent": 2}, {"max_per_second": 0.5}])
def test_one_that_waits_within_the_limits_of_a_class(limits: dict[str, Any]) -> None:
    assert reason_in(waiting(Told(step(**limits)))) is WaitReason.LIMITS


def test_one_that_is_suspected_to_end_the_system() -> None:
    told = Told(step(idempotent=True, retry=attempts(9)))
    for _ in range(2):
        told.dies(by_system=True, lost=True)
        told.now += 1000.0
    told.grant()
    told.dies(began=False)
    assert "the actor system has died 2 times in a row" in waiting(told)
    assert reason_in(waiting(told)) is WaitReason.LIMITS


def test_one_that_waits_for_its_retry() -> None:
    told = Told(step(retry=attempts(3, initial_s=50.0)))
    told.raises()
    assert reason_in(waiting(told)) is WaitReason.RETRY


def test_one_whose_process_is_being_ended() -> None:
    told = Told(step())
    told.run()
    told.tell(CancelAsked("no more", "ann"))
    assert reason_in(waiting(told)) is WaitReason.ENDING


def test_one_whose_code_is_gone() -> None:
    told = Told(step())
    told.tell(ProcessRefused("the import of module shop fails: there is no module shop", None))
    assert reason_in(waiting(told)) is WaitReason.CODE


def test_one_that_is_not_admitted() -> None:
    admission = Admission(1)
    admission.admit("saga-1", AdmissionRank("order", 1))
    for name in ("order", "other"):
        why = admission.full(AdmissionRank(name, 1))
        assert why is not None
        assert reason_in(why) is WaitReason.TURN
