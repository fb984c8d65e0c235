"""A copy whose server dies or has a full disk, at every stage: nothing counts before all of it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antistrophe.client.copying import Copying
from antistrophe.errors import CommitUnknownError, JournalError
from antistrophe.moving import copying, release
from antistrophe.moving.beside import TablesBeside
from antistrophe.moving.mark import CopyMark
from antistrophe.storage.postgres import open_postgres
from antistrophe.storage.postgres_database import PostgresDatabase
from tests.contract.copying_kit import copied, filled_home, of, of_file, without_positions
from tests.postgres_cluster import PostgresCluster
from tests.postgres_fixtures import require_postgres

FULL = "DO $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$"
SAYS = ["can't be reached", *["nothing of it was committed; try again"] * 2, "run the verb again, which finds out"]
STAGES = [(TablesBeside, "_piece"), (release, "let_own"), (release, "compare"), (CopyMark, "done")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return filled_home(tmp_path)


def then(do: Callable[[], object], original: Callable[..., Any]) -> Callable[..., Any]:
    """The stage, and then the failure; where there are several pieces it comes after the second one."""
    calls = iter([original.__name__ != "_piece"])

    def staged(*arguments: Any, **options: Any) -> Any:
        found = original(*arguments, **options)
        if next(calls, True):
            do()
        return found

    return staged


def opened_in_a_hurry(url: str) -> PostgresDatabase:
    """It soon gives up to ask what became of a commit; a server that is there may be slow."""
    database = open_postgres(url, patience_s=10.0)
    database.answer_s = 0.5
    return database


def test_a_copy_whose_server_dies_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_postgres()
    before = of_file(home)
    with PostgresCluster() as server:
        url = server.url()
        monkeypatch.setattr(copying, "open_postgres", opened_in_a_hurry)
        for (owner, name), says in zip(STAGES, SAYS, strict=True):
            with monkeypatch.context() as patched:
                patched.setattr(owner, name, then(server.kill, getattr(owner, name)))
                for said in (says, "can't be reached"):
                    with pytest.raises(JournalError, match=said):
                        copied(home, url)
            server.start()
            assert of(url)["sagas"] == [], f"after {name} nothing counts"
        with monkeypatch.context() as patched:
            patched.setattr(TablesBeside, "drop", then(server.kill, TablesBeside.drop))
            with pytest.raises(CommitUnknownError, match="run the verb again, which finds out"):
                Copying(home, url).call_off()
        server.start()
        Copying(home, url).call_off()
        assert of_file(home) == before
        assert not copied(home, url).before
        assert without_positions(of(url)) == without_positions(before)
        assert copied(home, url).before


@pytest.mark.parametrize("at", range(len(STAGES)))
def test_a_copy_whose_server_has_a_full_disk_says_so_and_goes_on_or_is_called_off(
    home: Path, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    owner, name = STAGES[at]
    before, empty = of_file(home), of(postgres_store_url)
    original = getattr(owner, name)

    def full(*arguments: Any, **options: Any) -> Any:
        database = next(
            each
            for argument in arguments
            for each in (argument, getattr(argument, "_database", None))
            if isinstance(each, PostgresDatabase)
        )
        original(*arguments, **options)
        database.run(FULL)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, full)
        for _ in range(2):
            with pytest.raises(JournalError, match="the disk of the server is full and nothing was written; free some"):
                copied(home, postgres_store_url)
            assert of(postgres_store_url) == empty
    if at % 2:
        Copying(home, postgres_store_url).call_off()
        assert of_file(home) == before
    assert not copied(home, postgres_store_url).before
    assert without_positions(of(postgres_store_url)) == without_positions(before)
