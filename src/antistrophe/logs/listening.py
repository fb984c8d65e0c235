"""Has all that this process says, from now on, go to the step log where an attempt says it."""

from __future__ import annotations

import logging
import os

from antistrophe.logs.handler import OF_SYSTEM, AttemptHandler
from antistrophe.logs.speaking import Speakers
from antistrophe.logs.step_log import StepLog
from antistrophe.logs.streams import take_streams
from antistrophe.settings import Settings


def listen(home: str | os.PathLike[str], settings: Settings, root_level: int | None, *, many: bool) -> Speakers:
    """Take standard output and error, and the loggers, which log to the system's log until now. All loggers but those
    with a level of their own have ``root_level``; None: ``log_level`` of the settings. ``many``:
    many attempts speak at the same time."""
    speakers = Speakers(StepLog(home, settings.step_log_bytes).append, settings.step_log_bytes)
    for logger in (logging.getLogger(OF_SYSTEM), logging.getLogger()):
        for system in logger.handlers[:]:
            logger.removeHandler(system)
            logger.addHandler(AttemptHandler(system, speakers.speaker))
    logging.getLogger().setLevel(settings.log_level if root_level is None else root_level)
    speakers.before_end = take_streams(speakers.speaker, many=many)
    return speakers
