"""``verify_compensable``: a saga that can be undone passes at every point, and every planted fault is found for what
it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antistrophe import SagaDefinition, SagaOrchestrator, SagaStep
from antistrophe.errors import RequestError
from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.linux.termination import processes_of_home
from antistrophe.saga.entries import AttemptFailed, FailureKind
from antistrophe.testing import Bounds, Finding, Kind, Report, verify_compensable
from tests.acceptance import steps_to_undo as steps
from tests.acceptance.steps_lazy_events import LazyDebit

QUICK = Bounds(hang_s=0.2, lines=2)
FEW = ("all-steps-then-undo", "execute/*/kill-before", "execute/*/kill-after", "compensate/*/kill-after")


@pytest.fixture
def bank(tmp_path: Path) -> str:
    """A bank with two accounts."""
    path = str(tmp_path / "bank.db")
    steps.make_bank(path)
    return path


def saga(*parts: SagaStep, name: str = "transfer") -> SagaDefinition:
    made = SagaDefinition(name)
    for each in parts:
        made = made.add_step(each)
    return made


def reopen_books(bank: str) -> Callable[[], None]:
    """Forgets what is in no snapshot."""

    def reset() -> None:
        with steps.opened(bank) as db:
            db.execute("DELETE FROM closings")

    return reset


def verify(bank: str, *parts: SagaStep, only: tuple[str, ...] = FEW, **options: Any) -> Report:
    options = {"bounds": QUICK, **options}
    return verify_compensable(
        saga(*parts), lambda: steps.snapshot(bank), only=only, reset=reopen_books(bank), **options
    )


# --- a saga that can be undone ------------------------------------------------------------------------------------


@pytest.mark.timeout(240)  # some eighty runs, one by one where everything is killed
def test_a_saga_that_can_be_undone_passes_at_every_point(bank: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    definition = saga(steps.Debit(bank), steps.Credit(bank), steps.look(bank))
    before = steps.snapshot(bank)
    report = verify_compensable(
        definition, lambda saga_id: steps.moved_by(bank, saga_id), home, bounds=QUICK, at_a_time=3
    )
    assert report.ok, report
    assert "Debit, Credit, look: atomic" in report.assumptions[0]
    assert not report.findings
    assert not report.missed
    assert report.steps == ("Debit", "Credit", "look")
    assert steps.snapshot(bank) == before
    assert not processes_of_home(home)
    failures = failures_by_point(report, home)
    assert {kind for kinds in failures.values() for kind in kinds} >= {
        FailureKind.RAISED, FailureKind.IN_DOUBT, FailureKind.CRASH, FailureKind.TIMEOUT, FailureKind.UNENCODABLE,
        FailureKind.INTERRUPTED, FailureKind.FATAL,
    }  # fmt: skip
    assert_every_append_was_a_point(report, home)


def test_events_that_are_made_as_they_are_read_are_no_coroutine(bank: str) -> None:
    report = verify(bank, LazyDebit(bank))
    assert report.ok, report


def failures_by_point(report: Report, home: Path) -> dict[str, list[FailureKind]]:
    """How the attempts of each run really ended, from the journal; each injection has to be seen there."""
    expected = {
        "raise": FailureKind.RAISED,
        "memory": FailureKind.RAISED,
        "kill": FailureKind.CRASH,
        "hang": FailureKind.TIMEOUT,
        "garbage": FailureKind.UNENCODABLE,
    }
    journal = SqliteJournal(journal_path(home), read_only=True)
    try:
        found = {}
        for each in report.checked:
            assert each.saga_id is not None
            failed = [entry.failure.kind for entry in journal.load(each.saga_id) if isinstance(entry, AttemptFailed)]
            found[each.point.name] = failed
            word = expected.get(each.point.label.partition("-")[0])
            if each.point.label == "raise-after" and each.point.area == "execute":
                word = FailureKind.IN_DOUBT
            if each.point.area == "compensate" and each.point.label == "garbage":
                word = None  # an undo has done its work, whatever it returns
            if each.point.area == "supervisor" and each.point.what is not None:
                word = FailureKind.INTERRUPTED
            assert word is None or word in failed, each.point
    finally:
        journal.close()
    return found


def assert_every_append_was_a_point(report: Report, home: Path) -> None:
    """The supervisor was killed after each append that the clean run made to the journal."""
    clean = report.checked[0].saga_id
    assert clean is not None
    journal = SqliteJournal(journal_path(home), read_only=True)
    try:
        seqs = [record.position for record in journal.records(limit=10_000) if record.saga_id == clean]
        ends = [change.position for change in journal.changes(limit=10_000) if change.saga.id == clean]
    finally:
        journal.close()
    appended = {seqs.index(position) + 1 for position in ends}
    kills = {each.point.name: each.record for each in report.checked if each.point.area == "supervisor"}
    # Whether the acceptance is an append of its own depends on whether a process is at hand; and what has been appended
    # when the kill comes that follows on it, on who is faster.
    assert kills.pop("supervisor/start") in appended | {1}
    assert appended - {1} == set(kills.values())


def test_a_saga_made_for_an_id_and_an_undo_that_waits_for_an_operator(bank: str) -> None:
    made: list[str] = []

    def make(saga_id: str) -> SagaDefinition:
        made.append(saga_id)
        return saga(steps.OneChance(bank))

    report = verify_compensable(
        make, lambda: steps.snapshot(bank), only=["compensate/*/raise-*", "compensate/*/kill-*"], bounds=QUICK
    )
    assert report.ok, report
    assert {each.point.label for each in report.checked} >= {"raise-once", "raise-always", "kill-after", "kill-before"}
    assert len(set(made)) == len(made)


# --- one planted fault each ---------------------------------------------------------------------------------------


def only_finding(report: Report) -> Finding:
    """The first finding; all are of one kind and blame one step."""
    assert not report.ok, report
    assert len({(finding.kind, finding.step, finding.other) for finding in report.findings}) == 1, report
    return report.findings[0]


ALONE = [
    (steps.KeepsAFee, Kind.RESIDUE, "all-steps-then-undo", "['accounts']['A'] was 100, is 99"),
    (steps.UndoesNothing, Kind.RESIDUE, "execute/UndoesNothing/kill-before", "['accounts']['A'] was 100, is 110"),
    (steps.GivesTwice, Kind.NOT_IDEMPOTENT, "compensate/GivesTwice/kill-after", "['accounts']['A'] was 100, is 110"),
    (steps.ByOutput, Kind.NEEDS_OUTPUT, "execute/ByOutput/kill-after", "['receipts'] was 0, is 1"),
    (steps.FailsInDoubt, Kind.FAILS_IN_DOUBT, "execute/FailsInDoubt/kill-before", None),
    (steps.TakesTwice, Kind.REPEATED, "execute/TakesTwice/kill-after", "['accounts']['A'] was 100, is 80"),
    (steps.NeverUndone, Kind.PARKED, "all-steps-then-undo", "['accounts']['A'] was 100, is 90"),
]


@pytest.mark.parametrize(("cls", "kind", "point", "residue"), ALONE, ids=[case[0].__name__ for case in ALONE])
def test_a_fault_of_one_step_is_found(
    bank: str, cls: Callable[[str], SagaStep], kind: Kind, point: str, residue: str | None
) -> None:
    report = verify(bank, cls(bank))
    finding = only_finding(report)
    assert (finding.kind, finding.point) == (kind, point)
    assert finding.step == report.steps[0]
    assert residue is None or residue in finding.residue
    assert finding.what_to_do in report.text(400)
    assert not report.missed


def test_the_same_point_again_finds_the_same(bank: str) -> None:
    definition = saga(steps.UndoesNothing(bank))
    only = "execute/*/kill-before"
    first = verify_compensable(definition, lambda: steps.snapshot(bank), only=only, bounds=QUICK).findings[0]
    again = verify_compensable(definition, lambda: steps.snapshot(bank), bounds=QUICK, **first.replay)
    assert [each.point.name for each in again.checked] == [first.point]
    assert (again.findings[0].kind, again.findings[0].says) == (first.kind, first.says)


def test_half_done_work_is_found_between_two_lines(bank: str) -> None:
    only = ("execute/*/kill-*",)
    finding = only_finding(verify(bank, steps.HalfDone(bank), only=only, bounds=Bounds(lines=8)))
    assert finding.kind is Kind.RESIDUE
    assert "before `with opened(self.bank) as db:`" in finding.injection or "kill-line-" in finding.point
    assert "half done" in finding.says


def test_an_undo_that_needs_what_a_later_step_left_is_in_the_wrong_order(bank: str) -> None:
    only = ("all-steps-then-undo", "execute/Receipt/kill-after")
    finding = only_finding(verify(bank, steps.NeedsTheReceipt(bank), steps.Receipt(bank), only=only))
    assert (finding.kind, finding.step, finding.other) == (Kind.WRONG_ORDER, "NeedsTheReceipt", "Receipt")


def test_an_undo_that_asks_for_a_later_output_is_in_the_wrong_order(bank: str) -> None:
    only = ("all-steps-then-undo",)
    finding = only_finding(verify(bank, steps.ReadsALaterOutput(bank), steps.Receipt(bank), only=only))
    assert (finding.kind, finding.step, finding.other) == (Kind.WRONG_ORDER, "ReadsALaterOutput", "Receipt")


def test_steps_that_cant_be_undone_together_are_found(bank: str) -> None:
    only = ("all-steps-then-undo", "execute/*/raise-before", "execute/Close/kill-*")
    parts = (steps.NeedsOpenBooks(bank), steps.Receipt(bank), steps.Close(bank))
    report = verify(bank, *parts, only=only)
    finding = only_finding(report)
    assert (finding.kind, finding.step, finding.other) == (Kind.PAIR, "NeedsOpenBooks", "Close")
    undone = {each.point.name for each in report.checked if each.well}
    assert {"execute/Receipt/raise-before", "execute/Close/raise-before", "execute/Close/kill-before"} <= undone


def test_a_saga_that_waits_for_hours_is_stuck(bank: str) -> None:
    until_its_undo = Bounds(run_s=6.0)  # on a machine that may be busy
    report = verify(bank, steps.WaitsForHours(bank), only=("*",), bounds=until_its_undo)
    finding = only_finding(report)
    assert (finding.kind, finding.step) == (Kind.STUCK, "WaitsForHours")
    assert report.runs == 1  # nothing else would come to its end either


def test_a_saga_that_fails_by_itself_can_t_be_verified(bank: str) -> None:
    report = verify(bank, steps.Credit(bank), steps.Refuses(bank), only=("*",))
    finding = only_finding(report)
    assert finding.kind is Kind.NOT_COMPLETED
    assert report.runs == 1
    assert finding.traceback is not None
    assert "in execute" in finding.traceback
    assert "in execute" in str(report)


def test_a_step_that_lies_about_being_atomic_is_found_where_it_is_not_trusted(bank: str) -> None:
    only = ("execute/Lies/raise-after",)
    finding = only_finding(verify(bank, steps.Lies(bank), only=only, trust_atomic=False))
    assert (finding.kind, finding.step) == (Kind.RESIDUE, "Lies")
    assert "atomic" in finding.says


def test_what_was_not_run_is_not_passed_and_a_sample_is_drawn_by_its_seed(bank: str) -> None:
    def drawn(seed: int | None) -> tuple[list[str], int | None]:
        report = verify(bank, steps.Debit(bank), only=("*",), sample=5, seed=seed, bounds=Bounds(total_s=1e-3))
        assert not report.findings, report
        assert not report.ok
        assert len(report.missed) >= 4
        assert "total_s" in str(report)
        assert f"seed {report.seed}" in str(report)
        return [each.point.name for each in report.checked], report.seed

    names, seed = drawn(None)
    assert len(names) == 5
    assert drawn(seed) == (names, seed)


# --- wrong use ----------------------------------------------------------------------------------------------------


class Incomparable:
    """Equality without a truth value, as arrays have it."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("neither equal nor different")

    __hash__ = None  # type: ignore[assignment]


def test_what_can_t_be_verified_is_refused(bank: str) -> None:
    good = saga(steps.Debit(bank))
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("without steps", lambda: verify_compensable(saga())),
        ("not a SagaDefinition", lambda: verify_compensable(7)),  # type: ignore[arg-type]
        ("no SagaDefinition", lambda: verify_compensable(lambda saga_id: 7)),  # type: ignore[arg-type, return-value]
        ("world\\(saga_id\\)", lambda: verify_compensable(good, lambda: 1, at_a_time=2)),
        ("with nothing, or with the saga's id", lambda: verify_compensable(good, lambda a, b: 1)),
        ("hang_s", lambda: verify_compensable(good, bounds=Bounds(hang_s=0))),
        ("hang_s must be", lambda: Bounds(hang_s="x")),  # type: ignore[arg-type]
        ("run_s must be", lambda: Bounds(run_s=None)),  # type: ignore[arg-type]
        ("lines", lambda: verify_compensable(good, bounds=Bounds(lines=-1))),
        ("lines must be", lambda: Bounds(lines=1.5)),  # type: ignore[arg-type]
        ("bounds must be", lambda: verify_compensable(good, bounds=900)),  # type: ignore[arg-type]
        ("can't be compared .ValueError: neither", lambda: verify_compensable(good, lambda: [Incomparable()])),
        ("world must be a function", lambda: verify_compensable(good, 5)),  # type: ignore[arg-type]
        ("reset must be a function", lambda: verify_compensable(good, reset="x")),  # type: ignore[arg-type]
        ("sample must be", lambda: verify_compensable(good, sample=0)),
        ("sample must be", lambda: verify_compensable(good, sample="3")),  # type: ignore[arg-type]
        ("seed must be", lambda: verify_compensable(good, sample=3, seed=-1)),
        ("at_a_time must be", lambda: verify_compensable(good, at_a_time=0)),
        ("at least one point", lambda: verify_compensable(good, only=[])),
        ("at least one point", lambda: verify_compensable(good, only=[3])),  # type: ignore[list-item]
        ("asked again at once.*clocks", lambda: verify_compensable(good, lambda: {"at": time.time_ns()})),
        ("asked again at once.*nan", lambda: verify_compensable(good, lambda: float("nan"))),
        ("can't be called", lambda: verify_compensable(saga(steps.NamedAsTheVerifiers(bank)))),
        ("equal only themselves", lambda: verify_compensable(good, lambda: [object()])),
    ]
    for text, call in wrong:
        with pytest.raises(RequestError, match=text):
            call()


def test_an_unknown_point_is_told_with_those_that_are_near(bank: str) -> None:
    with pytest.raises(RequestError, match="execute/Debit/kill-before"):
        verify(bank, steps.Debit(bank), only=("execute/Debit/kill-befor",))


def test_a_home_in_which_a_system_runs_is_refused(bank: str, tmp_path: Path) -> None:
    with (
        SagaOrchestrator(tmp_path / "home"),
        pytest.raises(RequestError, match="an actor system runs"),
    ):
        verify_compensable(saga(steps.Debit(bank)), home=tmp_path / "home")


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_what_the_world_raises_comes_out_and_nothing_is_left(bank: str, tmp_path: Path, at_a_time: int) -> None:
    looks: list[str] = []

    def world(saga_id: str) -> object:
        looks.append(saga_id)
        if len(looks) == 10:
            raise ZeroDivisionError("the world ends")
        return steps.moved_by(bank, saga_id)

    with pytest.raises(ZeroDivisionError):
        verify_compensable(saga(steps.Debit(bank)), world, tmp_path / "home", at_a_time=at_a_time)
    assert len(looks) < 10 + 4 * at_a_time
    assert not processes_of_home(tmp_path / "home")
