"""Log records as lines: no id and no error can begin a line of the log, or control the terminal that shows it.

A record of a saga names it: the attribute ``saga_id``, which ``extra={"saga_id": ...}`` gives, stands at the end of its
line, where the message does not name the saga itself.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from types import TracebackType

from antistrophe.serialization.printable import printable

_FORM = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
_INDENT = "    "


def formatter(form: str) -> logging.Formatter:
    """The formatter for the setting ``log_format``."""
    return JsonLines() if form == "json" else LogLines()


class LogLines(logging.Formatter):
    """One line for each record. The lines of a traceback and of a stack follow, indented."""

    def __init__(self) -> None:
        super().__init__(_FORM)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line of the record."""
        saga_id = _saga_of(record)
        if saga_id is not None and saga_id not in record.message:
            record.message = f"{record.message} (saga {saga_id})"
        return printable(super().formatMessage(record))

    def formatException(  # noqa: N802 - logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """The lines of a traceback."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """The lines of a stack."""
        return _indented(stack_info)


class JsonLines(logging.Formatter):
    """One JSON object for each record, in one line: ``at`` (UTC), ``level``, ``logger``, ``pid``, ``text``, and where
    there is one, the ``saga``. A traceback is a part of the text."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of the record."""
        saga_id = _saga_of(record)
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            **({} if saga_id is None else {"saga": saga_id}),
            "text": printable(super().format(record), keep="\n\t"),
        }
        return json.dumps(told)


def _saga_of(record: logging.LogRecord) -> str | None:
    saga_id = getattr(record, "saga_id", None)
    return saga_id if isinstance(saga_id, str) else None


def _indented(lines: str) -> str:
    return "\n".join(f"{_INDENT}{printable(line)}" for line in lines.split("\n"))
