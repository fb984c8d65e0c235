"""What is too long for a page of the dashboard is cut, and what needs a look is shown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from antistrophe.saga.entries import Action, CompensationGivenUp, Entry, SagaParked
from tests.contract import journal_sagas as sagas
from tests.contract.dashboard_home import journal_of, viewer


def long_failure(letters: int) -> Iterator[Entry]:
    """What is journaled of a saga that is parked, with an error of so many letters."""
    failure = replace(sagas.NO, error="<b>" + "E" * letters)
    yield sagas.started(0)
    yield sagas.succeeded(0)
    yield sagas.started(1)
    yield replace(sagas.failed(1), failure=failure, traceback="T" * letters)
    yield replace(sagas.turned_back(), cause=replace(sagas.turned_back().cause, failure=failure))
    yield sagas.started(0, Action.COMPENSATE)
    yield replace(sagas.failed(0, Action.COMPENSATE), failure=failure)
    yield CompensationGivenUp(sagas.START + 4, 0, failure)
    yield SagaParked(sagas.START + 4)


def test_a_long_error_does_not_make_a_long_page(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with journal_of(home) as journal:
        sagas.append(journal, "long", *(sagas.accepted("long", "n" * 3_000), *long_failure(1_000_000)))
    client = viewer(home)
    for path in ("/", "/sagas", "/bulk?order=retry"):
        assert len(client.get(path).text) < 40_000, path
    page = client.get("/sagas/long").text
    assert "more characters: `antistrophe export` writes all of them" in page
    assert len(page) < 100_000


def test_of_many_steps_those_are_shown_that_need_a_look(tmp_path: Path) -> None:
    names = tuple(f"Step{number}" for number in range(250))
    entries: list[Entry] = [sagas.accepted("many", steps=names)]
    for index in range(230):
        entries += [sagas.started(index), sagas.succeeded(index)]
    with journal_of(tmp_path / "home") as journal:
        sagas.append(journal, "many", *entries, sagas.started(230))
        sagas.append(journal, "few", sagas.accepted("few"))
    client = viewer(tmp_path / "home")
    page = html.unescape(client.get("/sagas/many").text)
    shown = [int(each) for each in re.findall(r'id="step-(\d+)"', page)]
    assert shown == [*range(199), 230]
    assert "50 steps are not shown" in page
    assert "steps are not shown" not in client.get("/sagas/few").text
