"""The options that every verb takes, and what one call was given in them: home, settings, form of output."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar

import click

from antistrophe.client import stored_home
from antistrophe.client.chosen_settings import with_chosen_journal
from antistrophe.client.opening import DEFAULT_HOME, home_of
from antistrophe.journal import JournalPlace
from antistrophe.linux.termination import HOME_VARIABLE
from antistrophe.narration.phrases import places
from antistrophe.narration.times import tell_in
from antistrophe.settings import Settings
from antistrophe.settings.journal_url import JOURNAL_VARIABLE, has_password, is_url

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """The values of these options, before or after the verb. The later one wins."""

    home_option: Path | None = None
    as_json: bool = False
    settings_file: Path | None = None
    journal_option: str | None = None

    @property
    def home(self) -> Path:
        """The home: ``--home``, else ``$ANTISTROPHE_HOME``, else ``.antistrophe``; absolute, without symbolic links."""
        return home_of(self.home_option)

    def settings(self) -> Settings | None:
        """The settings of ``--settings``, or None. Raises InvalidSettingsError."""
        return None if self.settings_file is None else Settings.load(self.settings_file)

    @property
    def journal_url(self) -> str | None:
        """The URL of the journal: ``--journal``, else that of ``--settings``, else ``$ANTISTROPHE_JOURNAL``; None: it
        is in the home's file. Raises InvalidSettingsError."""
        return with_chosen_journal(self.settings() or Settings(), self.journal_option).journal

    def existing_home(self) -> Path:
        """The home, which has to exist: a verb that asks makes nothing. Raises JournalError."""
        return stored_home.existing_home(self.home)

    def stored_place(self) -> JournalPlace:
        """The place of the journal, which has to exist and be its owner's alone. Raises JournalError."""
        return stored_home.stored_place(self.home, self.journal_url)

    @property
    def place(self) -> JournalPlace:
        """The place of the journal, whether it exists or not. Raises InvalidSettingsError."""
        return JournalPlace.of_home(self.home, self.journal_url)

    @property
    def shown_place(self) -> Path | JournalPlace:
        """Where the sagas are, for people: the home, or the database."""
        url = self.journal_url
        return self.home if url is None else JournalPlace.of_home(self.home, url)

    def command(self, words: str, *arguments: str) -> str:
        """A command line that a person can type: ``words`` as they are, then ``arguments`` quoted. It names the home
        and the journal where this call was given them."""
        named = "" if self.home_option is None else f" --home {shlex.quote(str(self.home_option))}"
        named += "" if self.journal_option is None else f" --journal {shlex.quote(self.journal_option)}"
        return " ".join([f"antistrophe{named}", words, *([places(*arguments)] if arguments else [])])


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def _keeps(attribute: str, convert: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        invocation = context.ensure_object(Invocation)
        if value is not None and value is not False:
            setattr(invocation, attribute, convert(value))

    return keep


def url_of_argument(text: str, option: str = "--journal") -> str:
    """The URL that an option was given, which everybody can see. Raises BadParameter for what is none, or is secret."""
    if not is_url(text):
        raise click.BadParameter("it is a URL as postgresql://HOST/DATABASE, and this is none", param_hint=option)
    if has_password(text):
        raise click.BadParameter(
            f"everybody on this machine can read the arguments of a process: put the password into the file that"
            f" $PGPASSFILE names, or the whole URL into ${JOURNAL_VARIABLE}",
            param_hint=option,
        )
    return text


class _NamedPath(click.Path):
    """A path that has at least one character: an empty one comes from a variable that is not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.ParamType``."""
        if value == "":
            self.fail("it is empty: name a folder, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


_OPTIONS = (
    click.option(
        "--home",
        type=_NamedPath(path_type=Path),
        metavar="DIR",
        expose_value=False,
        callback=_keeps("home_option", Path),
        help=f"The home of the actor system; by default ${HOME_VARIABLE}, else {DEFAULT_HOME}.",
    ),
    click.option(
        "--journal",
        metavar="URL",
        expose_value=False,
        callback=_keeps("journal_option", url_of_argument),
        help=f"The database that keeps the journal; by default ${JOURNAL_VARIABLE}, else it is a file of the home.",
    ),
    click.option(
        "--settings",
        type=click.Path(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=_keeps("settings_file", Path),
        help="A TOML profile, used where this call starts the actor system.",
    ),
    click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_keeps("as_json", bool),
        help="Print JSON, and nothing else, on standard output.",
    ),
    click.option(
        "--utc",
        is_flag=True,
        expose_value=False,
        callback=lambda _context, _parameter, value: tell_in(UTC) if value else None,
        help="Tell times in UTC; by default they are those of your time zone.",
    ),
)


after_restore_option = click.option(
    "--after-restore",
    is_flag=True,
    help="The database of the journal was put back to an earlier state: what sagas may have done since is in doubt.",
)
"""The option of the verbs that start a system."""


def everywhere(command: F) -> F:
    """The options that stand before or after every verb."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
