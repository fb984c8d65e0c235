"""`cancel`, `retry` and `resolve`: what a person tells a saga, and what the exit code says."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.command import Caller, finish, write_lines
from tests.acceptance.steps_of_a_shop import BOOK
from tests.waiting import until


def book(shop: Caller) -> list[str]:
    """What the steps did, in order."""
    return (shop.folder / BOOK).read_text("utf-8").splitlines()


def test_retry_parks_again_until_what_was_broken_is_repaired(ran: Caller) -> None:
    again = ran("retry", "stuck")
    assert again.code == 1
    assert "stuck is failed" in again.out
    (ran.folder / "open").touch()
    repaired = ran("retry", "stuck", "--note", "the till is open", "--json")
    assert repaired.code == 0
    assert repaired.json()["status"] == "compensated"
    assert book(ran)[-2:] == ["refund flute", "unreserve flute"]
    assert "ordered a retry of the undo: the till is open." in ran.ask("explain", "stuck").out
    assert "note=the till is open" in ran.ask("show", "stuck").out


def test_resolve_takes_a_persons_word_and_walks_on(ran: Caller) -> None:
    wrong = ran("resolve", "stuck", "Reserve", "--note", "not this one")
    assert wrong.code == 2
    assert "Reserve" in wrong.complaint
    assert ran("resolve", "stuck", "Charge", "--note", " ").code == 2
    ended = ran("resolve", "stuck", "Charge", "--note", "paid back in cash", "--json")
    assert ended.code == 0
    assert [step["status"] for step in ended.json()["steps"]] == ["compensated", "resolved", "failed"]
    assert book(ran)[-1] == "unreserve flute"
    assert "settled the undo of Charge by other means: paid back in cash" in ran.ask("explain", "stuck").out


def test_what_is_not_parked_can_be_neither_retried_nor_resolved(ran: Caller) -> None:
    for words in (["retry", "good"], ["retry", "bad"], ["resolve", "bad", "Charge", "--note", "no"]):
        ended = ran(*words)
        assert ended.code == 2
        assert "parked" in ended.complaint


def test_cancel_undoes_what_goes_forward(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [{"id": "one", "item": "slow"}])
    run = shop.start("run", "shop.py:order", "--input", "orders.jsonl", "--json")
    until(lambda: (saga := shop.saga("one")) and saga["steps"][2]["status"] == "running", "it ships")
    cancelled = shop("cancel", "one", "--reason", "changed my mind", "--json")
    assert cancelled.code == 0
    assert cancelled.json()["status"] == "compensated"
    ended = finish(run)
    assert ended.code == 1
    assert "changed my mind" in ended.json_lines()[0]["error"]
    assert book(shop) == ["reserve slow", "charge slow", "fetch back slow", "refund slow", "unreserve slow"]
    again = shop("cancel", "one")
    assert (again.code, again.out.strip()) == (0, "one is compensated")


def test_what_has_completed_cannot_be_cancelled(ran: Caller) -> None:
    ended = ran("cancel", "good")
    assert ended.code == 2
    assert "has completed" in ended.complaint


def test_an_order_without_waiting_is_journaled(ran: Caller, tmp_path: Path) -> None:
    (tmp_path / "open").touch()
    assert ran("retry", "stuck", "--no-wait").code == 0
    timeline = ran.ask("show", "stuck", "--json").json()["timeline"]
    assert "CompensationRetried" in [entry["kind"] for entry in timeline]
