"""The URL of a journal in a database: what is one, and that nothing secret in it is ever told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from antistrophe.errors import InvalidSettingsError
from antistrophe.settings import Settings
from antistrophe.settings.journal_url import hidden, is_url, shown

SECRET = "s3cr3t-Word"
URL = f"postgresql://bank:{SECRET}@db.example:5433/shop?sslmode=require&sslpassword={SECRET}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql:///shop", "postgresql:///shop"),
        ("postgres://localhost/shop", "postgresql://localhost/shop"),
        ("postgresql:///shop?host=/run/postgresql&port=5433", "postgresql:///shop?host=/run/postgresql&port=5433"),
        ("postgresql://%2Frun%2Fpostgresql/shop", "postgresql://%2Frun%2Fpostgresql/shop"),
        ("postgresql://a:1,b:2/shop?target_session_attrs=read-write", "postgresql://a:1,b:2/shop"),
        ("postgresql://[::1]:5432/shop", "postgresql://[::1]:5432/shop"),
        ("postgresql:///?service=bank", "postgresql:///?service=bank"),
        (URL, "postgresql://db.example:5433/shop"),
        (f"postgresql:///shop?password={SECRET}&user=bank", "postgresql:///shop"),
    ],
)
def test_a_url_is_told_by_its_hosts_its_database_and_no_more(url: str, said: str) -> None:
    assert is_url(url)
    assert shown(url) == said
    assert Settings(journal=url).journal == url


@pytest.mark.parametrize(
    "value",
    [
        "",
        "shop",
        "mysql://localhost/shop",
        "sqlite:///shop.db",
        "postgresql:shop",
        "postgresql:/shop",
        "postgresql://localhost/shop#part",
        "postgresql://local host/shop",
        "postgresql://localhost:port/shop",
        "postgresql://localhost/shop?sslmode",
        "postgresql://localhost/%ff",
        "postgresql://localhost/shop\n",
        f"postgresql://bank:12/{SECRET}@localhost/shop",
        f"postgresql://bank:12@{SECRET}@localhost/shop",
        f"postgresql://bank:12#{SECRET}@localhost/shop",
        f"postgresql://bank:12?x={SECRET}@localhost/shop",
        "postgresql://localhost/" + "x" * 5000,
        5,
        b"postgresql:///shop",
        Path("shop"),
        ("postgresql:///shop",),
    ],
)
def test_what_is_no_url_is_refused_and_not_repeated(value: object) -> None:
    with pytest.raises(
        InvalidSettingsError, match=r"^journal must be a URL of PostgreSQL.*, not what was given$"
    ) as error:
        Settings(journal=value)  # type: ignore[arg-type]
    assert SECRET not in str(error.value)
    assert "postgresql:///..." in shown(str(value)) or SECRET not in shown(str(value))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=12))
def test_no_password_is_ever_told_whatever_is_in_it(password: str) -> None:
    assume(password not in f"postgresql://db.example/shop?a=b:***@...{Settings()!r}")
    for url in (f"postgresql://u:{password}@db.example/shop", f"postgresql://db.example/shop?password={password}&a=b"):
        assert password not in shown(url)
        assert password not in hidden(url)
        if is_url(url):
            assert password not in repr(Settings(journal=url))


def test_settings_show_the_place_of_the_journal_and_never_its_password(tmp_path: Path) -> None:
    profile = tmp_path / "bank.toml"
    profile.write_text(f'journal = "{URL}"\nlabels = ["gpu"]\nlease_s = 4\n', "utf-8")
    settings = Settings.load(profile)
    assert settings.journal == URL
    assert settings.sources()["journal"] == str(profile)
    told = [repr(settings), settings.origin, repr(settings.without_secrets().journal), str(settings.sources())]
    assert not [text for text in told if SECRET in text]
    assert "postgresql://db.example:5433/shop" in repr(settings)
    assert settings.without_secrets().sources() == settings.sources()
    assert settings.without_secrets().lease_s == 4.0


def test_settings_whose_password_was_hidden_are_no_settings_to_start_with() -> None:
    shown_ones = Settings(journal=URL).without_secrets()
    with pytest.raises(InvalidSettingsError, match="journal must be a URL"):
        Settings(journal=shown_ones.journal)
    plain = Settings(journal="postgresql:///shop")
    assert Settings(journal=plain.without_secrets().journal) == plain


def test_the_journal_of_an_argument_or_of_the_environment_says_where_it_comes_from() -> None:
    of_variable = Settings(drain_s=3).with_journal(URL, "$ANTISTROPHE_JOURNAL")
    assert of_variable.sources()["journal"] == "$ANTISTROPHE_JOURNAL"
    assert of_variable.sources()["drain_s"] == "argument"
    assert of_variable.with_journal("postgresql:///other", "argument").sources()["journal"] == "argument"
    assert SECRET not in json.dumps([of_variable.origin])
    with pytest.raises(InvalidSettingsError, match="journal must be"):
        Settings().with_journal("shop", "argument")


@pytest.mark.parametrize("name", ["", "-a", "a b", "a" * 64, "ä", "a.", 5])
def test_a_label_and_a_host_have_names_that_can_stand_anywhere(name: object) -> None:
    with pytest.raises(InvalidSettingsError, match=r"^host_name must be a name"):
        Settings(host_name=name)  # type: ignore[arg-type]
    with pytest.raises(InvalidSettingsError, match=r"^labels must be a list of up to 64 names"):
        Settings(labels=[name])  # type: ignore[arg-type]


def test_labels_are_a_list_of_names_and_a_host_is_called_as_its_machine() -> None:
    settings = Settings(labels=["gpu", "zone.eu-1"], host_name="a1")  # type: ignore[arg-type]
    assert settings.labels == ("gpu", "zone.eu-1")
    assert settings.host == "a1"
    assert Settings().host
    for wrong in ("gpu", {"gpu"}, ["gpu"] * 65, None):
        with pytest.raises(InvalidSettingsError, match=r"^labels must be"):
            Settings(labels=wrong)  # type: ignore[arg-type]
