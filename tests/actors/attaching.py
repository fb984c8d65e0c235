"""What the tests of attaching share: attachments that are closed in the end, and questions to a system."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from antistrophe.launcher.attachment import Attachment
from antistrophe.launcher.system import System
from antistrophe.messages import ListProcesses, Processes
from antistrophe.settings import Settings
from antistrophe.transport.mailbox import Mailbox

Opener: TypeAlias = Callable[..., tuple[Attachment, System]]


@contextlib.contextmanager
def attachments(home: Path) -> Iterator[Opener]:
    """Opens attachments, and closes those that the test leaves open."""
    made: list[Attachment] = []

    def opener(settings: Settings | None = None, at: Path = home) -> tuple[Attachment, System]:
        attachment = Attachment(at, settings or Settings())
        made.append(attachment)
        return attachment, attachment.open()

    try:
        yield opener
    finally:
        for attachment in made:
            attachment.close()


def answers(system: System) -> bool:
    """Whether the supervisor answers."""
    mailbox = Mailbox(system.supervisor)
    try:
        mailbox.send(ListProcesses("question"))
        return isinstance(mailbox.receive(10.0), Processes)
    finally:
        mailbox.close()


def pids_of(system: System) -> list[int]:
    """The processes that carry the system."""
    return [system.launcher_pid, system.admin_pid, system.logger_pid, system.supervisor_pid]
