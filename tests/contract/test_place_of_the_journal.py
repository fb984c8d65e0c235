"""Where a journal is: the home's file or a database, who decides that, and that no home gets two of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from antistrophe.cli import main
from antistrophe.client.chosen_settings import with_chosen_journal
from antistrophe.client.stored_home import stored_place
from antistrophe.errors import InvalidSettingsError, JournalError, SystemStateError
from antistrophe.journal import JournalPlace, journal_path, note, open_journal, refuse_elsewhere
from antistrophe.journal.place_note import NOTE_NAME
from antistrophe.launcher.same_journal import refuse_other_journal
from antistrophe.settings import Settings
from antistrophe.settings.journal_url import JOURNAL_VARIABLE

SECRET = "s3cr3t-Word"
URL = f"postgresql://bank:{SECRET}@db.example/shop"
SHOWN = "postgresql://db.example/shop"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    return made


def test_a_place_is_told_without_what_is_secret(home: Path) -> None:
    place = JournalPlace.of_home(home, URL)
    assert str(place) == SHOWN
    assert SECRET not in repr(place)
    assert place.where == URL
    assert JournalPlace.at(URL).where == URL
    assert str(JournalPlace.at(home / "journal.db")) == str(journal_path(home))
    with pytest.raises(JournalError, match=r"the URL of the journal can't be read") as error:
        JournalPlace.at(f"postgresql://bank:{SECRET}/x@db.example/shop")
    assert SECRET not in str(error.value)


def test_the_nearest_choice_of_a_journal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(journal="postgresql:///of_profile", drain_s=2.0)
    monkeypatch.setenv(JOURNAL_VARIABLE, URL)
    assert with_chosen_journal(given, "postgresql:///of_call").journal == "postgresql:///of_call"
    assert with_chosen_journal(given, None) == given
    assert with_chosen_journal(given, "").journal is None
    of_variable = with_chosen_journal(Settings(drain_s=2.0), None)
    assert (of_variable.journal, of_variable.drain_s) == (URL, 2.0)
    assert of_variable.sources()["journal"] == f"${JOURNAL_VARIABLE}"
    monkeypatch.setenv(JOURNAL_VARIABLE, "")
    assert with_chosen_journal(Settings(), None).journal is None
    monkeypatch.setenv(JOURNAL_VARIABLE, f"mysql://bank:{SECRET}@db/shop")
    with pytest.raises(InvalidSettingsError, match=r"^\$ANTISTROPHE_JOURNAL: journal must be a URL") as error:
        with_chosen_journal(Settings(), None)
    assert SECRET not in str(error.value)


def test_a_home_whose_journal_is_in_a_database_begins_no_other_one(home: Path) -> None:
    here, there = JournalPlace.of_home(home), JournalPlace.of_home(home, URL)
    refuse_elsewhere(here)
    refuse_elsewhere(there)
    note(there)
    assert SECRET not in (home / NOTE_NAME).read_text("utf-8")
    assert (home / NOTE_NAME).stat().st_mode & 0o077 == 0
    refuse_elsewhere(there)
    refuse_elsewhere(JournalPlace.of_home(home, "postgresql://standby/shop"))
    with pytest.raises(JournalError, match=f"the journal of {home} is in {SHOWN}: name it with journal="):
        refuse_elsewhere(here)
    with pytest.raises(JournalError, match="name it with journal="):
        stored_place(home)
    assert stored_place(home, URL) == there


def test_a_home_with_a_journal_of_its_own_does_not_go_on_in_a_database(home: Path) -> None:
    open_journal(JournalPlace.of_home(home)).close()
    with pytest.raises(JournalError, match=r"has a journal of its own.*choose another home") as error:
        refuse_elsewhere(JournalPlace.of_home(home, URL))
    assert SECRET not in str(error.value)
    refuse_elsewhere(JournalPlace.of_home(home))


def test_a_note_that_can_not_be_read_is_no_leave_to_begin_a_journal(home: Path) -> None:
    (home / NOTE_NAME).mkdir()
    with pytest.raises(JournalError, match="can't be read"):
        refuse_elsewhere(JournalPlace.of_home(home))
    with pytest.raises(JournalError, match=r"can't be (read|written)"):
        note(JournalPlace.of_home(home, URL))


def test_an_application_takes_no_system_with_another_journal(home: Path) -> None:
    of_file, of_database = Settings(), Settings(journal=URL)
    refuse_other_journal(home, of_database, Settings(journal="postgresql://other:word@db.example/shop?sslmode=require"))
    for wanted, found in ((of_file, of_database), (of_database, of_file), (of_database, Settings(journal=f"{URL}2"))):
        with pytest.raises(SystemStateError, match="keeps its journal in") as error:
            refuse_other_journal(home, wanted, found)
        assert SECRET not in str(error.value)


def test_the_command_line_takes_no_password_and_says_where_to_put_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (URL, f"postgresql:///shop?password={SECRET}"):
        assert main(["--home", str(home), "--journal", url, "list"]) == 2
        told = capsys.readouterr().err
        assert "PGPASSFILE" in told
        assert SECRET not in told
    assert main(["list", "--journal", "shop.db", "--home", str(home)]) == 2
    assert "postgresql://HOST/DATABASE" in capsys.readouterr().err
