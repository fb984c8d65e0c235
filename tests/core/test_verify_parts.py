"""The parts of ``verify_compensable``: snapshots and their differences, points, the line tracer, run logs, reports."""

from __future__ import annotations

import multiprocessing
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from antistrophe import SagaDefinition
from antistrophe.definition.step_options import step_spec
from antistrophe.errors import InvalidDefinitionError
from antistrophe.testing import Finding, Kind, Report
from antistrophe.testing.verification.injections import INJECTED, Injection, When
from antistrophe.testing.verification.line_tracer import LineTracer
from antistrophe.testing.verification.points import CLEAN, Point, points_of, points_within
from antistrophe.testing.verification.report import WHAT_TO_DO, Checked
from antistrophe.testing.verification.run import NO_CHANGE, Bounds, RunDefinitions
from antistrophe.testing.verification.run_log import ABANDONED, RunLog
from antistrophe.testing.verification.snapshots import MOST_LINES, Snapshots, differences
from tests.core import steps_inline as steps

# --- snapshots ----------------------------------------------------------------------------------------------------


@dataclass
class Account:
    name: str
    balance: int


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"A": 1, "B": {"x": [1, 2]}}, {"A": 1, "B": {"x": [1, 3]}}, ["['B']['x'][1] was 2, is 3"]),
        ({"A": 1}, {"B": 1}, ["['A'] was 1, is gone", "['B'] is new: 1"]),
        ([1, 2, 2, 3], [1, 2, 3], ["the snapshot no longer has 2"]),
        ([(1, "a")], [(1, "a"), (2, "b")], ["the snapshot now has (2, 'b')"]),
        ({1, 2}, {2, 3}, ["the snapshot no longer has 1", "the snapshot now has 3"]),
        (Account("A", 1), Account("A", 2), [".balance was 1, is 2"]),
        (1, "1", ["the snapshot was 1, is '1'"]),
        ("same", "same", []),
        (None, [], ["the snapshot was None, is []"]),
    ],
)
def test_differences_are_told_where_they_are(before: Any, after: Any, lines: list[str]) -> None:
    assert differences(before, after) == lines


def test_many_differences_are_counted() -> None:
    lines = differences(dict.fromkeys(range(50), 0), dict.fromkeys(range(50), 1))
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == f"and {50 - MOST_LINES} more differences"


def test_a_snapshot_is_a_copy_and_the_world_may_ask_for_the_saga() -> None:
    live: dict[str, int] = {"A": 1}
    snapshots = Snapshots(lambda: live)
    before = snapshots.take("x")
    live["A"] = 2
    assert differences(before, snapshots.take("x")) == ["['A'] was 1, is 2"]
    assert Snapshots(lambda saga_id: saga_id).take("x") == "x"
    assert Snapshots(None).take("x") is None


def test_a_world_that_is_no_plain_value_is_refused() -> None:
    with sqlite3.connect(":memory:") as db, pytest.raises(InvalidDefinitionError, match="plain values"):
        Snapshots(lambda: db).take("x")
    db.close()


# --- points -------------------------------------------------------------------------------------------------------


def test_every_point_has_a_name_of_its_own_and_the_first_is_the_clean_run() -> None:
    specs = [step_spec(steps.Work("one")), step_spec(steps.greet("you")), step_spec(steps.Verified())]
    points = points_of(specs, trust_atomic=True)
    names = [point.name for point in points]
    assert len(set(names)) == len(names)
    assert names[0] == CLEAN
    for name in ("one", "greet", "Verified"):
        assert {
            f"execute/{name}/{when}-{where}" for when in ("raise", "kill", "hang") for where in ("before", "after")
        } <= set(names)
        assert {
            f"compensate/{name}/{each}" for each in ("raise-once", "raise-always", "kill-after", "hang-once")
        } <= set(names)
        assert {f"supervisor/{role}/{name}/before" for role in ("execute", "compensate")} <= set(names)


def test_an_atomic_step_is_only_asked_for_what_it_says_it_can_do() -> None:
    def after(trust_atomic: bool) -> Injection | None:
        points = points_of([step_spec(steps.Work("one"))], trust_atomic=trust_atomic)
        return next(point.what for point in points if point.name == "execute/one/raise-after")

    assert after(True) is Injection.DOUBT
    assert after(False) is Injection.RAISE


def test_points_within_calls_come_from_what_the_clean_run_noted() -> None:
    notes = [{"role": role, "step": 0, "lines": [[3, "f()"], [5, "g()"]]} for role in ("execute", "compensate")]
    points = points_within([step_spec(steps.Work("one"))], notes)
    assert [(point.name, point.line, point.once) for point in points] == [
        ("execute/one/kill-line-3", 3, False),
        ("execute/one/kill-line-5", 5, False),
        ("compensate/one/kill-line-3", 3, True),
        ("compensate/one/kill-line-5", 5, True),
    ]
    assert "`g()`" in points[1].says


def test_a_run_keeps_the_steps_options_but_for_times(tmp_path: Path) -> None:
    definition = SagaDefinition("x", name="x", deadline_s=1.0).add_step(steps.Work("one")).add_step(steps.BadUndo(1))
    definitions = RunDefinitions(definition, Bounds(hang_s=0.5, call_s=2.0))
    definitions.took_s = {("execute", 0): 0.01, ("compensate", 0): 1.0}
    point = Point("p", "execute", 0, "execute", "hang-before", "", Injection.HANG)
    made = definitions.definition(definition, "y", str(tmp_path), point, NO_CHANGE, gated=False)
    assert (made.id, made.name, made.deadline_s) == ("y", "x", None)
    assert made.spec().origin == definition.spec().origin
    work, undo, turn = made.step_specs
    assert (work.name, undo.name, undo.idempotent, undo.atomic) == ("one", "BadUndo", False, True)
    assert (work.timeout_s, work.compensation_timeout_s, undo.timeout_s) == (0.5, 10.0, 30.0)
    assert (undo.compensation_retry.max_attempts, undo.compensation_retry.initial_s) == (3, 0.05)
    assert not turn.requires_compensation
    assert len({spec.name for spec in made.step_specs}) == 3


# --- line tracer --------------------------------------------------------------------------------------------------


def work(list_of_done: list[int], times: int) -> int:
    for each in range(times):
        doubled = 2 * each
        list_of_done.append(doubled)
    return finish(list_of_done)


def finish(list_of_done: list[int]) -> int:
    list_of_done.append(-1)
    return len(list_of_done)


def test_lines_are_noted_once_for_each_way_to_them() -> None:
    tracer = LineTracer(work)
    with tracer:
        assert work([], 3) == 4
    seen = tracer.seen(100)
    assert [text for _, text in seen] == [
        "doubled = 2 * each",
        "list_of_done.append(doubled)",
        "for each in range(times):",
        "return finish(list_of_done)",
        "list_of_done.append(-1)",
        "return len(list_of_done)",
    ]
    assert [number for number, _ in seen] == sorted({number for number, _ in seen})
    assert [number for number, _ in tracer.seen(2)] == [seen[0][0], seen[3][0]]


def test_what_has_no_code_has_no_lines() -> None:
    for method in (None, len):
        tracer = LineTracer(method)
        with tracer:
            work([], 1)
        assert tracer.seen(10) == []


def _killed_at(number: int, log: RunLog) -> None:
    done: list[int] = []
    with LineTracer(work, number, lambda: log.note(INJECTED, done=done)):
        work(done, 3)


@pytest.mark.parametrize(("number", "done"), [(1, []), (3, []), (4, [0]), (11, [0, 2, 4]), (13, [0, 2, 4, -1])])
def test_a_process_is_killed_before_its_line(tmp_path: Path, number: int, done: list[int]) -> None:
    process = multiprocessing.get_context("fork").Process(target=_killed_at, args=(number, RunLog(tmp_path)))
    process.start()
    process.join(30.0)
    assert process.exitcode == -signal.SIGKILL
    process.close()
    assert RunLog(tmp_path).notes(INJECTED) == [{"what": INJECTED, "done": done}]


# --- run logs -----------------------------------------------------------------------------------------------------


def test_a_run_log_is_read_as_far_as_it_is_written(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    assert log.notes() == []
    log.note("one", text="line\nbreak \u2028 and \x1b")
    log.note("two")
    (tmp_path / "notes").write_text((tmp_path / "notes").read_text() + '{"what": "thr')
    assert [note["what"] for note in log.notes()] == ["one", "two"]
    assert log.notes("one")[0]["text"] == "line\nbreak \u2028 and \x1b"


def test_a_flag_is_raised_once_and_a_run_whose_log_is_gone_is_over(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    log = RunLog(folder)
    assert log.raise_flag("x")
    assert not log.raise_flag("x")
    log.wait_for("x")
    assert not log.over
    log.raise_flag(ABANDONED)
    log.wait_for("never")
    assert log.over
    assert RunLog(tmp_path / "gone").over
    log.keep("output-0", b"x")
    assert (log.kept("output-0"), log.kept("output-1")) == (b"x", None)


# --- reports ------------------------------------------------------------------------------------------------------


def report(*checked: Checked, **fields: Any) -> Report:
    return Report("order", ("Reserve", "Pay"), checked, (), runs=len(checked), seconds=1.0, **fields)


def point(label: str, step: int = 0, area: str = "execute") -> Point:
    return Point(f"{area}/{step}/{label}", area, step, area, label, f"execute {label}", Injection.KILL, When.BEFORE)


def finding(point: Point, kind: Kind = Kind.RESIDUE, says: str = "it went wrong") -> Finding:
    return Finding(kind, point.name, "Reserve", None, point.says, says, ("it was 1, is 2",), WHAT_TO_DO[kind], "saga")


def test_a_report_is_ok_only_where_all_happened_and_all_was_well() -> None:
    good = Checked(point("kill-before"))
    assert report(good).ok
    assert not report().ok, "where nothing was run, nothing is shown"
    assert "order can be undone" in str(report(good))
    missed = report(good, Checked(point("kill-after"), missed="the call was not made"))
    assert not missed.ok
    assert "the call was not made" in str(missed)
    bad = report(good, Checked(point("kill-after"), finding(point("kill-after"))))
    assert not bad.ok
    assert [each.replay for each in bad.findings] == [{"only": "execute/0/kill-after"}]
    assert [each.outcome for each in bad.checked] == ["undone", "residue"]


def test_a_report_says_what_where_and_what_to_do() -> None:
    many = [Checked(point(f"kill-line-{number}"), finding(point(f"kill-line-{number}"))) for number in range(1, 9)]
    text = report(*many, Checked(point("raise-before", 1)), seed=4).text(200)
    for part in (
        "1. residue: Reserve",
        "it was 1, is 2",
        WHAT_TO_DO[Kind.RESIDUE],
        "kill-line-1/2/3",
        "seed 4",
        "4 more",
    ):
        assert part in text
    assert "2. " not in text


@pytest.mark.parametrize("show", [str, lambda report: report.text(60)])
def test_nothing_in_a_report_commands_the_terminal(show: Callable[[Report], str]) -> None:
    wild = finding(point("kill-after"), says="\x1b[2J[bold]gone\x07")
    said = show(report(Checked(point("kill-after"), wild)))
    assert "\x1b" not in said
    assert "[bold]gone" in said


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_says_what_to_do(kind: Kind) -> None:
    assert WHAT_TO_DO[kind]
