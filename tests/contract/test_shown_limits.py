"""Limits over all hosts as people see them: who uses them, who waits for them, and which of them holds a saga up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.hosts.stored_permits import StoredPermits
from antistrophe.scheduling.permits import key_of_class
from tests.contract.journal_sagas import FORWARD, accepted, append, succeeded, waits
from tests.contract.shared_limits import CLASS, NAME, Shared, shared_limits

WHO = "sagas called 'import': 1 of 1 permits are out (a1: 1); b1 has waited 0 s for 1 more"


def in_no_time(text: str) -> str:
    """The text as if the machine were not busy."""
    return re.sub(r"(waited 10 min) \d+ s", r"\1", re.sub(r"waited \d s", "waited 0 s", text))


@pytest.fixture
def shared(empty_postgres: str, tmp_path: Path) -> Iterator[Shared]:
    with shared_limits(empty_postgres, tmp_path / "no-home") as made:
        yield made


def test_the_list_of_hosts_tells_who_uses_a_limit_and_who_waits_for_it(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.settle("b1", CLASS, starts=3, rate=0.5)
    said = in_no_time(shared.call(capsys, "hosts"))
    assert f"Limits over all hosts\nsagas called 'import': {WHO.partition(': ')[2]}\n" in said
    assert "attempts of tests.no_such_module:Debit: at most 0.5 start in a second; b1 has waited" in said
    limits = {each["key"]: each for each in shared.ask(capsys, "hosts")["limits"]}
    assert limits.keys() == {NAME, CLASS}
    of_name = limits[NAME]
    assert (of_name["most"], of_name["per_second"], of_name["held"]) == (1, None, 1)
    assert [(share["name"], share["host"], share["held"], share["wanted"]) for share in of_name["shares"]] == [
        ("b1", shared.hosts["b1"], 0, 1),
        ("a1", shared.hosts["a1"], 1, 0),
    ]
    assert of_name["oldest"] == of_name["shares"][0]["since"] is not None
    assert of_name["shares"][1]["since"] is None
    assert limits[CLASS]["shares"][0]["starts"] > 0


def test_who_has_asked_no_more_waits_no_more_and_who_is_gone_has_nothing(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.database.execute("UPDATE antistrophe.permits SET until = until - interval '1 hour'")
    (limit,) = shared.ask(capsys, "hosts")["limits"]
    assert [(share["name"], share["since"]) for share in limit["shares"]] == [("a1", None)]
    assert limit["oldest"] is None
    StoredHosts(shared.database).hand_over(shared.hosts["a1"])
    assert shared.ask(capsys, "hosts")["limits"] == []
    assert "Limits over all hosts" not in shared.call(capsys, "hosts")


def test_doctor_tells_a_host_that_has_waited_for_long(shared: Shared, capsys: pytest.CaptureFixture[str]) -> None:
    def found() -> list[tuple[str, str]]:
        findings = shared.ask(capsys, "doctor")["findings"]
        return [(each["health"], in_no_time(each["says"])) for each in findings if each["subject"] == "limit"]

    assert found() == [("well", WHO)]
    shared.database.execute(
        "UPDATE antistrophe.permits SET since = since - interval '10 minutes', until = until + interval '1 minute'"
    )
    assert found() == [("note", WHO.replace("0 s", "10 min"))]


def test_a_saga_that_waits_names_the_limit_and_who_has_its_permits(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = accepted("s", "import")
    steps = tuple(replace(step, max_per_second=0.5) for step in begun.spec.steps)
    begun = replace(begun, spec=replace(begun.spec, max_concurrent=1, steps=steps))
    append(shared.journal, "s", begun, waits("its turn: max_concurrent lets 1 of those called 'import' run"))
    append(shared.journal, "other", accepted("other"), waits("its turn: max_running_sagas lets 1 run"))
    for verb in ("show", "explain"):
        said = " ".join(shared.call(capsys, verb, "s").split())
        assert WHO in in_no_time(said)
        assert [each["key"] for each in shared.ask(capsys, verb, "s")["limits"]] == [NAME]
        shared.settle("b1", CLASS, starts=1, rate=0.5)
        assert {each["key"] for each in shared.ask(capsys, verb, "s")["limits"]} == {NAME}, "a start that it has got"
        shared.settle("b1", CLASS, starts=9, rate=0.5)
        assert [each["key"] for each in shared.ask(capsys, verb, "s")["limits"]] == [NAME, CLASS]
        shared.database.execute("DELETE FROM antistrophe.permits WHERE key = ?", (CLASS,))
        shared.database.execute("DELETE FROM antistrophe.limits WHERE key = ?", (CLASS,))
        assert shared.ask(capsys, verb, "other")["limits"] == [], "it has none"
    append(shared.journal, "s", FORWARD[0][0])
    assert shared.ask(capsys, "show", "s")["limits"] == [], "it runs"
    append(shared.journal, "s", succeeded(0))
    assert shared.ask(capsys, "show", "s")["limits"] != []


def test_a_key_that_is_kept_by_its_digest_is_found(shared: Shared) -> None:
    long = key_of_class("m:" + "A" * 1_000)
    shared.settle("a1", long, starts=9, rate=1.0)
    (limit,) = StoredPermits(shared.database).limits([long])
    assert limit.key.startswith("step:sha256:")


def test_the_next_start_of_a_rate_is_told_to_those_who_wait(shared: Shared, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        shared.settle("b1", CLASS, starts=3, rate=0.01)
    (limit,) = StoredPermits(shared.database).limits([CLASS])
    at = StoredHosts(shared.database).moment()
    assert limit.next_start is not None
    assert 60.0 < (limit.next_start - at).total_seconds() <= 101.0
    assert "the next start comes in" in shared.call(capsys, "hosts")
    shared.database.execute("UPDATE antistrophe.limits SET next_start = clock_timestamp()")
    assert StoredPermits(shared.database).limits([CLASS])[0].next_start is None, "at once"


def test_of_many_limits_those_come_first_for_which_somebody_waits_and_any_is_found_by_its_name(shared: Shared) -> None:
    permits = StoredPermits(shared.database)
    for number in range(5):
        shared.settle("a1", key_of_class(f"m:Step{number}"), starts=9, rate=1000.0)
    shared.settle("a1", key_of_class("m:50%_\\'"), starts=9, rate=0.001)
    shared.database.execute("UPDATE antistrophe.permits SET since = since - interval '1 hour' WHERE key = ?", (NAME,))
    assert [limit.key for limit in permits.limits(most=1)] == [NAME]
    assert permits.count() == len(permits.limits())
    assert permits.count(text="STEP") == len(permits.limits(text="STEP"))
    assert [limit.key for limit in permits.limits(text="50%_\\'")] == [key_of_class("m:50%_\\'")]
    assert permits.limits(text="a\0b") == []
    assert permits.count(text="a\0b") == 0
    waited_for = permits.limits(waiting=True)
    assert NAME in {limit.key for limit in waited_for}
    assert all(limit.oldest is not None for limit in waited_for)
    assert permits.count(waiting=True) == len(waited_for)


def test_a_saga_that_hosts_work_on_needs_no_system_of_this_home(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    append(shared.journal, "s", accepted("s"), waits("its turn: max_running_sagas lets 1 run"))
    assert "No actor system runs" not in shared.call(capsys, "explain", "s")
    for host in shared.hosts.values():
        StoredHosts(shared.database).hand_over(host)
    assert "No actor system runs" in shared.call(capsys, "explain", "s")
