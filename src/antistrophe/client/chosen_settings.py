"""Which settings and journal an application or a tool means, and what it is told where the system has others."""

from __future__ import annotations

import warnings
from pathlib import Path

from antistrophe.errors import InvalidSettingsError
from antistrophe.settings import Settings, SettingsWarning
from antistrophe.settings.journal_url import JOURNAL_VARIABLE, url_of_environment


def with_chosen_journal(settings: Settings, journal: str | None) -> Settings:
    """The settings with the journal that ``journal`` names; where it is None, that of the settings themselves, else
    that of ``$ANTISTROPHE_JOURNAL``. An empty text: the file in the home, whatever the others say. Raises
    InvalidSettingsError for what is no URL, and does not repeat it."""
    if journal == "":
        return settings.without_journal()
    if journal is not None:
        return settings.with_journal(journal, "argument")
    if settings.journal is not None or (url := url_of_environment()) is None:
        return settings
    try:
        return settings.with_journal(url, f"${JOURNAL_VARIABLE}")
    except InvalidSettingsError as error:
        raise InvalidSettingsError(f"${JOURNAL_VARIABLE}: {error}") from None


def warn_of_others(given: Settings, effective: Settings, home: Path) -> None:
    """Warn where the system that runs has other settings than those that the caller gave."""
    differences = given.differences(effective)
    differences.pop("open_timeout_s", None)  # the caller's own patience: it has counted already
    differences.pop("journal", None)  # it is the same, or the caller was refused
    if differences:
        told = ", ".join(f"{name} is {other!r}, not {one!r}" for name, (one, other) in differences.items())
        warnings.warn(
            f"the actor system of {home} runs already, and keeps the settings that it was started with: {told}. Those"
            " given here have no effect until it is started anew, once no program is attached to it",
            SettingsWarning,
            stacklevel=5,
        )
