"""The handler of a process that makes calls: what an attempt logs goes to the step log, and to the system's log too."""

from __future__ import annotations

import logging
from collections.abc import Callable

from antistrophe.exception_text import name_and_text
from antistrophe.logs.attempt_output import CONTEXT_LOG, LOGGING, AttemptOutput

OF_SYSTEM = "antistrophe"
OF_STEPS = "antistrophe.step."


class AttemptHandler(logging.Handler):
    """Keeps the records of attempts. ``system`` gets every record, with its saga, but for those that are too many."""

    def __init__(self, system: logging.Handler | None, speaker: Callable[[], AttemptOutput | None]) -> None:
        super().__init__()
        self._system = system
        self._speaker = speaker
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record."""
        try:
            output = self._speaker()
            if output is not None:
                record.saga_id = output.saga_id
                if not self._is_the_systems(record) and not self._keep(output, record):
                    return
            if self._system is not None and record.levelno >= self._system.level:
                self._system.handle(record)
        except Exception:
            self.handleError(record)

    def _keep(self, output: AttemptOutput, record: logging.LogRecord) -> bool:
        source = CONTEXT_LOG if record.name.startswith(OF_STEPS) else LOGGING
        try:
            text = self.format(record)
        except Exception as error:  # the arguments do not fit the message
            text = f"{record.msg!a:.1000} % {record.args!a:.1000}: {name_and_text(error)}"
            record.msg, record.args = text, None
        record.exc_text = None  # else the next handler would take the lines of the traceback as they are here
        return output.log(record.levelname, source, record.name, text)

    def _is_the_systems(self, record: logging.LogRecord) -> bool:
        return record.name.partition(".")[0] == OF_SYSTEM and not record.name.startswith(OF_STEPS)
