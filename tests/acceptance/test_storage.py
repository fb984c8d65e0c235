"""`export` and `purge` on the command line, on a home whose system does not run."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from antistrophe.cli.storage_words import size_in_words, what_to_do
from antistrophe.definition.events import EncodedEvent
from antistrophe.journal import SagaEvent, SqliteJournal
from antistrophe.journal.growth import Growth
from antistrophe.launcher.home_lock import HomeLock
from antistrophe.narration.times import timedelta_of
from antistrophe.saga.entries import Action, AttemptSucceeded, SagaCompleted
from antistrophe.serialization.payload import pack_payload
from tests.acceptance.command import Caller
from tests.contract.journal_sagas import FORWARD, PARK, START, TURN_BACK, accepted, append, run, started

ODD = {"raw": b"\x00\xff", "set": {1}, 7: None}


@pytest.fixture
def home(tmp_path: Path) -> Caller:
    """A home with a completed saga, one with odd values, and a parked one."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    with closing(SqliteJournal(folder / "journal.db")) as journal:
        run(journal, "done", *FORWARD)
        append(journal, "odd", accepted("odd", "shipment", ("Only",)), started(0))
        event = EncodedEvent("odd.said", 1, pack_payload(ODD))
        stored = SagaEvent("odd", "odd.said", 1, event.data, {"saga": "odd"}, "00000000-0000-0000-0000-000000000001")
        last = (
            AttemptSucceeded(START + 2, 0, Action.EXECUTE, 1, pack_payload(ODD), (event,)),
            SagaCompleted(START + 4),
        )
        append(journal, "odd", *last, events=(stored,))
        run(journal, "parked", *TURN_BACK, PARK)
    return Caller(folder, tmp_path)


def test_export_writes_the_whole_record(home: Caller) -> None:
    said = home.ask("export", "odd")
    assert said.code == 0
    record = said.json()
    assert record["saga"]["status"] == "completed"
    assert [entry["kind"] for entry in record["timeline"]] == [
        "SagaAccepted",
        "AttemptStarted",
        "AttemptSucceeded",
        "SagaCompleted",
    ]
    assert record["timeline"][0]["data"]["spec"]["steps"][0]["input"] == {"account": "A", "amount": 7}
    assert record["timeline"][2]["data"]["output"] == {"raw": "00ff", "set": [1], "7": None}
    (event,) = record["events"]
    assert event["data"] == {"raw": "00ff", "set": [1], "7": None}
    assert (event["stream"], event["position"], event["metadata"]) == ("odd", 1, {"saga": "odd"})
    assert event["recorded_at"].endswith("+00:00")


def test_purge_deletes_what_has_finished_long_ago(home: Caller) -> None:
    assert home.ask("purge", "--older-than", "99999d").out.startswith("0 sagas purged")
    assert home.ask("purge", "--older-than", "30d", "--dry-run").out.startswith("2 sagas would be purged, about")
    assert home.ask("purge", "--older-than", "1d12h", "--name", "shipment").out.startswith("1 sagas purged")
    assert "was completed at 2023-11-14" in home.ask("export", "odd").complaint
    assert "has been purged" in home.ask("show", "odd").complaint
    said = home.ask("purge", "--older-than", "0s", "--status", "completed", "--events", "--json").json()
    assert said["sagas"] == 1
    assert said["file_bytes_after"] <= said["file_bytes_before"]
    left = json.loads(home.ask("list", "--json").out)["sagas"]
    assert [saga["id"] for saga in left] == ["parked"]
    assert home.ask("doctor", "--json").code == 0


def test_a_wrong_purge_says_what_to_write(home: Caller) -> None:
    for words in ([], ["--older-than", "soon"], ["--older-than", "30"], ["--older-than", "1d", "--status", "failed"]):
        said = home.ask("purge", *words)
        assert said.code == 2
        assert said.out == ""
    assert "30d, 12h, 90min, 45s" in home.ask("purge", "--older-than", "soon").err
    assert "has no journal" in Caller(home.folder, home.folder).ask("purge", "--older-than", "1d").complaint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("12h", 43_200), ("90min", 5_400), ("5m", 300), ("0.5s", 0.5), ("1d2h", 93_600), ("0s", 0)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert timedelta_of(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "d", "-1d", "1 d", "1w", "1d ", "\u0661d", "9" * 400 + "d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        timedelta_of(text)


def test_compact_is_for_a_home_whose_system_does_not_run(home: Caller) -> None:
    said = home.ask("compact", "--json")
    assert said.code == 0
    assert said.json()["file_bytes_after"] <= said.json()["file_bytes_before"]
    assert "of free disk while it works" in said.err
    assert home.ask("compact").out.startswith("journal.db had")
    held = HomeLock.take(home.home)
    assert held is not None
    assert not held.after_death
    assert "end it first" in home.ask("compact").complaint
    held.release()
    assert home.ask("compact").code == 0
    later = HomeLock.take(home.home)
    assert later is not None
    assert later.after_death, "the death of the one before is still known"
    later.release()


def test_doctor_tells_size_growth_and_age(home: Caller) -> None:
    (size,) = [each for each in home.ask("doctor", "--json").json()["findings"] if each["subject"] == "size"]
    assert size["health"] == "well"
    assert "sagas a day of late" in size["says"]
    assert "KiB each; the oldest finished saga ended" in size["says"]


def test_doctor_knows_what_makes_a_file_small() -> None:
    growth = Growth(100 << 20, 50 << 20, 0, can_shrink=False, sagas_a_day=None, bytes_a_saga=None, oldest_finished=None)
    assert "antistrophe compact" in (what_to_do(growth) or "")
    assert what_to_do(replace(growth, can_shrink=True)) is None
    assert "fuser" in (what_to_do(replace(growth, log_bytes=65 << 20)) or "")
    assert size_in_words(growth) == "100.0 MiB (50.0 MiB free), log 0.0 MiB"
