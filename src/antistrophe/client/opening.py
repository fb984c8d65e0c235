"""Opens the home of an orchestrator: what must be true of this process, and the attachment to the system.

The launcher starts while this process loads what an orchestrator needs only behind it: the session with its messages,
the transport and the journal. That is half of the package.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from antistrophe.client.chosen_settings import with_chosen_journal
from antistrophe.client.introduction import Introduction
from antistrophe.definition.code_loading import check_may_open
from antistrophe.definition.green_threads import green_parts
from antistrophe.errors import InvalidSettingsError, SystemStateError, SystemUnavailableError
from antistrophe.launcher.attachment import Attachment
from antistrophe.linux.late_imports import late_import
from antistrophe.linux.open_files import files_left, soft_limit
from antistrophe.linux.termination import HOME_VARIABLE
from antistrophe.settings import Settings

if TYPE_CHECKING:
    from antistrophe.client.session import Session
    from antistrophe.eventstore.recorded import Upcasts

DEFAULT_HOME = ".antistrophe"

FILES_NEEDED = 20
"""How many files one orchestrator may have open: while it starts the system, and with its event store."""


def open_session(
    home: str | os.PathLike[str] | None,
    settings: Settings | None,
    versions: Upcasts | None,
    journal: str | None,
    *,
    after_restore: bool = False,
) -> Session:
    """Start the system of a home, or find it, and introduce this process. Raises what an orchestrator's making does."""
    if settings is not None and not isinstance(settings, Settings):
        raise InvalidSettingsError(f"settings= takes Settings(...) or Settings.load(file), not {settings!a:.200}")
    check_may_open()
    _refuse_green_threads()
    _check_room()
    chosen = with_chosen_journal(settings or Settings(), journal)
    if after_restore:
        with late_import():
            from antistrophe.client.restoring import acknowledge_restore
        acknowledge_restore(home_of(home), chosen.journal)
    attachment = Attachment(home_of(home), chosen, meanwhile=_load_session)
    introduction = Introduction(attachment.client_id)
    attachment.open()
    _load_session()
    from antistrophe.client.session import Session

    try:
        return Session(attachment, introduction, settings, versions)
    except BaseException:
        attachment.leave()
        raise


def _load_session() -> None:
    with late_import():
        import antistrophe.client.session  # noqa: F401 - its classes are used once it is here


def home_of(home: str | os.PathLike[str] | None) -> Path:
    """The given folder, else ``$ANTISTROPHE_HOME``, else ``.antistrophe``; absolute and without symbolic links."""
    return Path(os.path.realpath(home or os.environ.get(HOME_VARIABLE) or DEFAULT_HOME))


def _refuse_green_threads() -> None:
    if (parts := green_parts()) is not None:
        raise SystemStateError(
            f"an orchestrator can't work in this process: {parts} (monkey patching), and its threads would never be"
            " woken. Open it in a process without that: a web worker with real threads (gunicorn's gthread) instead of"
            " green ones, or a process of its own that the green one asks"
        )


def _check_room() -> None:
    """Raise SystemUnavailableError where this process lacks what its part of an actor system needs."""
    if not Path("/proc/self").exists():
        raise SystemUnavailableError(
            "an actor system sees in /proc which processes live, and /proc is not mounted here: mount it (mount -t proc"
            " proc /proc), or run this where it is"
        )
    left = files_left()
    if left < FILES_NEEDED:
        limit = soft_limit()
        raise SystemUnavailableError(
            f"an orchestrator needs {FILES_NEEDED} open files, and this process may open only {left:g} more: its limit"
            f" of {limit:g} must be at least {limit - left + FILES_NEEDED:g} (`ulimit -n`; LimitNOFILE= of systemd)"
        )
