"""Where an attempt may run: the labels that its step needs, those that a host has, and the host that is told."""

from __future__ import annotations

from dataclasses import replace

from antistrophe import SagaDefinition, StepContext, StepResult
from antistrophe import step as step_function
from antistrophe.journal.rows import pack_entry, pack_state, unpack_entry, unpack_state
from antistrophe.journal.short_entries import pack_short
from antistrophe.saga.effects import RequestLease
from antistrophe.saga.entries import Action, AttemptStarted, Lease
from antistrophe.saga.inputs import ProcessGranted, ProcessRefused, Returned
from antistrophe.saga.view import metadata_of, view_of
from antistrophe.saga.wait_reasons import WaitReason, reason_in
from antistrophe.scheduling.placement import why_not_here
from antistrophe.serialization.payload import unpack_payload
from antistrophe.testing import run_inline
from tests.core.saga_kit import Told, step

LEASE = Lease("process-9", 4711, 99, "boot", attempt_file="file")


def test_a_host_with_all_labels_will_do_and_any_other_says_what_it_lacks() -> None:
    assert why_not_here((), (), "a1") is None
    assert why_not_here(("gpu",), ("eu", "gpu"), "a1") is None
    why = why_not_here(("gpu", "ssd"), ("eu", "gpu"), "a1")
    assert why == "a host with ssd, on which its next step runs; a1 has the labels eu, gpu (the setting `labels`)"
    assert why_not_here(("b", "a"), (), "a1") == (
        "a host with a and b, on which its next step runs; a1 has no labels (the setting `labels`)"
    )
    assert reason_in(why) is WaitReason.HOST


def test_a_step_with_labels_runs_in_no_process_that_was_granted_for_another_step() -> None:
    told = Told(step("pay"), step("render", runs_on=("gpu",)), step("send"))
    told.answer(Returned(None, ()))
    assert told.saga.current is None, "whether this host will do is the supervisor's to say"
    (asked,) = [each for each in told.effects if isinstance(each, RequestLease)]
    assert asked.request.runs_on == ("gpu",)
    told.tell(ProcessGranted(LEASE, used=True))
    assert told.saga.current is None, "that lease was asked for before"
    told.tell(ProcessRefused("a host with gpu", None))
    assert told.saga.waiting == "a host with gpu"
    told.tell(ProcessGranted(LEASE, used=True, step_class="shop:render"))
    assert told.saga.current is not None
    assert told.saga.current.step == 1
    told.answer(Returned(None, ()))
    (asked,) = [each for each in told.effects if isinstance(each, RequestLease)]
    assert asked.request.runs_on == ()


def test_the_undo_of_a_step_with_labels_asks_for_them_too() -> None:
    told = Told(step("render", runs_on=("gpu",)), step("send"))
    told.tell(ProcessGranted(LEASE, used=False, step_class="shop:render"))
    told.answer(Returned(None, ()))
    told.raises()
    (asked,) = [each for each in told.effects if isinstance(each, RequestLease)]
    assert (asked.request.urgent, asked.request.runs_on) == (True, ("gpu",))


def test_the_host_of_an_attempt_is_kept_and_shown_where_there_are_several() -> None:
    for host, shown in (("a1", "a1"), ("", None)):
        lease = replace(LEASE, host=host)
        entry = AttemptStarted(1000.0, 0, Action.EXECUTE, 1, 5.0, 1005.0, lease)
        assert unpack_entry(pack_entry(entry), "it") == entry
        told = Told(step("pay"))
        told.tell(ProcessGranted(lease, used=False))
        view = metadata_of(told.saga)
        assert view.steps[0].host == shown
        assert unpack_state([pack_state(view_of(told.saga))], "it") == view
        assert unpack_state([pack_state(view)], "it") == view


def test_a_journal_on_one_host_is_not_larger_for_it() -> None:
    entry = AttemptStarted(1000.0, 0, Action.EXECUTE, 1, 5.0, 1005.0, LEASE)
    packed = pack_short(entry)
    assert packed is not None
    assert len(unpack_payload(packed)) == 12
    told = Told(step("pay"))
    told.tell(ProcessGranted(LEASE, used=False))
    assert len(view_of(told.saga).steps[0]) == 9


@step_function(requires_compensation=False)
def told(ctx: StepContext) -> StepResult[int]:
    return StepResult(output=ctx.fencing_token)


def test_a_step_is_told_the_number_of_its_hosts_claim() -> None:
    outcome = run_inline(SagaDefinition("order").add_step(told()))
    assert [entry.data["output"] for entry in outcome.timeline if entry.kind == "AttemptSucceeded"] == [1]
