"""Refuses a system that keeps its journal elsewhere than an application asked for, or than the system before it did."""

from __future__ import annotations

from pathlib import Path

from antistrophe.errors import SystemStateError
from antistrophe.linux.late_imports import late_import
from antistrophe.settings import Settings


def refuse_other_journal(home: Path, wanted: Settings, found: Settings) -> None:
    """Raise SystemStateError where the journals are two: what was accepted in one would be sought in the other. URLs of
    one database that differ in their user or options are one journal."""
    with late_import():  # it comes with much that only a running system needs
        from antistrophe.journal import JournalPlace

    places = [str(JournalPlace.of_home(home, settings.journal)) for settings in (wanted, found)]
    if places[0] != places[1]:
        raise SystemStateError(
            f"the actor system of {home} keeps its journal in {places[1]}, not in {places[0]}: use another home for the"
            " journal there, or do not name one"
        )
