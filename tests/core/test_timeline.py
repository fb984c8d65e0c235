"""The timeline of a saga and its picture: attempts, waits and moments where the entries have them, to scale."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from antistrophe.narration.timeline import MOST_BARS, MOST_ROWS, MarkKind, Timeline, failure_in_short, timeline_of
from antistrophe.narration.timeline_picture import STYLE, WIDTH, timeline_picture
from antistrophe.saga.course import End
from antistrophe.saga.entries import Action, AttemptStarted, Failure, FailureKind, SagaAccepted, SagaWaits, Verdict
from antistrophe.saga.inputs import Returned
from tests.core.saga_kit import Told, attempts, step

DONE = Returned(None, ())


def drawn(told: Told, now: float | None = None) -> Timeline:
    found = timeline_of(told.journal, told.now if now is None else now)
    assert found is not None
    return found


def turned_back() -> Told:
    """Debit returns; Credit is killed at its limit; both are undone, Debit at the second attempt."""
    told = Told(step("Debit", compensation_retry=attempts(2, 1.0)), step("Credit"))
    told.now += 5
    told.answer(DONE)
    told.now += 2
    told.times_out()
    told.now += 1
    told.answer(DONE)
    told.raises()
    told.now += 1
    told.answer(DONE)
    return told


def test_each_attempt_is_a_bar_of_its_step_and_says_how_it_ended() -> None:
    debit, credit = drawn(turned_back()).rows
    assert [(bar.span.action, bar.span.end, bar.told) for bar in credit.bars] == [
        (Action.EXECUTE, End.KILLED, "killed after 10 s"),
        (Action.COMPENSATE, End.DONE, ""),
    ]
    assert [bar.told for bar in debit.bars] == ["", "raised: BankError", ""]


def test_an_attempt_that_may_have_taken_effect_is_marked_and_its_undo_is_not() -> None:
    debit, credit = drawn(turned_back()).rows
    assert [bar.doubt for bar in credit.bars] == [True, False]
    assert not any(bar.doubt for bar in debit.bars)


def test_waits_go_from_what_was_before_to_the_next_attempt() -> None:
    told = turned_back()
    debit, _ = drawn(told).rows
    first, retry = debit.waits[0], debit.waits[-1]
    assert (first.began_at, first.ended_at, first.action) == (1000.0, 1005.0, Action.EXECUTE)
    assert (retry.action, retry.why) == (Action.COMPENSATE, "until it is tried again")
    assert retry.ended_at is not None
    assert retry.ended_at - retry.began_at >= 1.0


def test_a_saga_that_waits_for_its_retry_has_a_wait_without_an_end() -> None:
    told = Told(step("Debit", retry=attempts(3, 50.0)))
    told.raises()
    (row,) = drawn(told, told.now + 20).rows
    assert row.waits[-1].ended_at is None
    assert "waits 20 s: until it is tried again" in timeline_picture(drawn(told, told.now + 20), "x")


def test_a_saga_that_waits_for_its_first_attempt_has_a_wait_of_the_step_that_comes_next() -> None:
    told = Told(step("Debit"), step("Credit"))
    entries = [*told.journal, SagaWaits(told.now, "its turn: one at a time")]
    found = timeline_of(entries, told.now + 300)
    assert found is not None
    debit, credit = found.rows
    assert [(wait.why, wait.ended_at) for wait in debit.waits] == [("its turn: one at a time", None)]
    assert credit.waits == []
    assert "waits 5 min: its turn: one at a time" in timeline_picture(found, "x")
    told.now += 5
    told.answer(DONE)
    rows = drawn(told, told.now + 20).rows
    assert [[wait.ended_at for wait in row.waits] for row in rows] == [[1005.0], []], "the next attempt runs"


def test_the_moments_of_the_whole_saga_are_marked() -> None:
    marks = drawn(turned_back()).marks
    assert [mark.kind for mark in marks] == [MarkKind.TURNED, MarkKind.DONE]
    assert marks[0].text == "turned back: step timed out"
    parked = Told(step("Debit"), step("Credit"))
    parked.answer(DONE)
    parked.raises()
    parked.raises()
    assert [mark.kind for mark in drawn(parked).marks] == [MarkKind.TURNED, MarkKind.PARKED]


def test_what_runs_goes_up_to_now_and_what_has_ended_does_not() -> None:
    told = Told(step("Debit"))
    told.run()
    assert (drawn(told, told.now + 7).ended, drawn(told).running) == (told.now + 7, True)
    told.answer(DONE)
    assert (drawn(told, told.now + 700).ended, drawn(told).running) == (told.now, False)


def test_a_clock_that_went_back_makes_no_picture_that_ends_before_it_begins() -> None:
    told = Told(step("Debit"))
    told.run()
    assert drawn(told, told.now - 5_000).ended >= drawn(told).began


def test_a_check_says_what_it_found() -> None:
    told = Told(step("Debit", has_verify=True))
    told.times_out()
    told.says(Verdict.NOT_APPLIED)
    last = drawn(told).rows[0].bars[-1]
    assert (last.span.action, last.told, last.doubt) == (Action.VERIFY, "it took no effect", False)


def test_the_picture_is_to_scale() -> None:
    told = Told(step("Debit"), step("Credit"))
    told.run()
    told.now += 10
    told.answer(DONE)
    told.run()
    told.now += 30
    told.answer(DONE)
    widths = [
        float(each.get("width") or 0)
        for each in ElementTree.fromstring(timeline_picture(drawn(told), "x")).iter("rect")
        if "tl-bar" in (each.get("class") or "")
    ]
    assert len(widths) == 2
    assert abs(widths[1] / widths[0] - 3) < 0.02


def test_a_name_that_is_a_script_stays_text_and_the_picture_well_formed() -> None:
    told = Told(step("<script>alert('1')</script>\x00\u202e]]>&"), step("\ud800" * 3))
    told.raises()
    picture = timeline_picture(drawn(told), "<b>\x1b[31m&")
    assert "<script" not in picture
    assert "\\x00\\u202e" in "".join(ElementTree.fromstring(picture).itertext())


def test_the_picture_alone_brings_its_colours_and_nothing_from_elsewhere() -> None:
    alone = timeline_picture(drawn(turned_back()), "a saga", alone=True)
    root = ElementTree.fromstring(alone)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"(href|src|style)=|url\(", alone)
    used = {name for each in root.iter() for name in (each.get("class") or "").split() if name.startswith("tl-")}
    plain = {"tl-done", "tl-line-done"}  # they look as what they stand in
    assert not {name for name in used - plain if f".{name}" not in STYLE}


def test_no_saga_is_too_large_to_be_drawn() -> None:
    told = Told(step("a", retry=attempts(MOST_BARS + 9)), *[step(f"s{number}") for number in range(MOST_ROWS + 5)])
    for _ in range(MOST_BARS + 8):
        told.raises()
    found = drawn(told)
    assert (len(found.rows), found.steps_left_out) == (MOST_ROWS, 6)
    started = sum(isinstance(each, AttemptStarted) for each in told.journal)
    assert started > MOST_BARS
    assert (len(found.rows[0].bars), found.rows[0].left_out) == (MOST_BARS, started - MOST_BARS)
    picture = timeline_picture(found, "large")
    assert f"{started} attempts" in picture
    assert "and 6 more steps" in picture


def test_entries_that_are_none_make_no_timeline() -> None:
    assert timeline_of((), 0.0) is None
    told = Told(step("Debit"))
    told.answer(DONE)
    assert timeline_of(told.journal[1:], 0.0) is None


def test_ticks_are_round_and_fit_for_any_duration() -> None:
    for seconds in (0.0, 0.004, 0.7, 9.0, 61.0, 5_000.0, 86_400.0 * 40):
        told = Told(step("Debit"))
        told.run()
        told.now += seconds
        root = ElementTree.fromstring(timeline_picture(drawn(told), "x"))
        ticks = [each for each in root.iter("text") if each.get("class") == "tl-axis"]
        assert 1 <= len(ticks) <= 12, seconds
        assert all(0 <= float(each.get("x") or -1) <= WIDTH for each in ticks)


def test_a_signal_has_its_name() -> None:
    assert failure_in_short(Failure(FailureKind.CRASH, "", signal=9)) == "died: signal SIGKILL"
    assert failure_in_short(Failure(FailureKind.CRASH, "", signal=63)) == "died: signal 63"
    assert failure_in_short(Failure(FailureKind.CRASH, "", exit_code=3)) == "died: exit code 3"
    assert failure_in_short(Failure(FailureKind.NEVER_RAN, "")) == "never started"


def test_an_acceptance_alone_is_a_timeline() -> None:
    told = Told(step("Debit"))
    assert isinstance(told.journal[0], SagaAccepted)
    assert len(drawn(told).rows) == 1
