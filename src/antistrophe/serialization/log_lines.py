"""Log records as lines: no id and no error can begin a line of the log, or control the terminal that shows it."""

from __future__ import annotations

import logging
from types import TracebackType

from antistrophe.serialization.printable import printable

_FORM = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
_INDENT = "    "


class LogLines(logging.Formatter):
    """One line for each record. The lines of a traceback and of a stack follow, indented."""

    def __init__(self) -> None:
        super().__init__(_FORM)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line of the record."""
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


def _indented(lines: str) -> str:
    return "\n".join(f"{_INDENT}{printable(line)}" for line in lines.split("\n"))
