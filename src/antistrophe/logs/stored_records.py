"""The form of a record in the step log: one line of JSON, which begins with the id of its saga.

A full disk may tear a line, and another process then goes on in the same line. No text within a line looks like the
start of a record, so the whole ones are found again.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from antistrophe.records import LogRecord
from antistrophe.serialization.printable import printable

_START = b'{"saga": '
_WITH_ID = re.compile(_START.replace(b"{", rb"\{") + rb'("(?:[^"\\]|\\.)*"),')


def head_of(saga_id: str, step_name: str, action: str, attempt: int) -> str:
    """The start of the lines of one attempt."""
    saga, step = encode_basestring_ascii(saga_id), encode_basestring_ascii(step_name)
    return f'{{"saga": {saga}, "step": {step}, "action": "{action}", "attempt": {attempt}'


def start_of(saga_id: str) -> bytes:
    """How every line of a saga starts."""
    return _START + encode_basestring_ascii(saga_id).encode() + b","


def line_of(head: str, at: float, pid: int, level: str | None, source: str, logger: str | None, text: str) -> bytes:
    """A line of the step log."""
    rest = {"at": round(at, 6), "level": level, "source": source, "logger": logger, "pid": pid}
    told = encode_basestring(printable(text, keep="\n\t"))
    packed = ", ".join(f'"{name}": {_packed(value)}' for name, value in rest.items() if value is not None)
    return f'{head}, {packed}, "text": {told}}}\n'.encode()


def _packed(value: str | float) -> str:
    return encode_basestring_ascii(value) if isinstance(value, str) else repr(value)


def record_in(line: bytes, saga_id: str) -> LogRecord | None:
    """The record of that saga in a line; None where there is none, or it can't be read."""
    at = line.rfind(start_of(saga_id))
    if at < 0:
        return None
    try:
        read = json.loads(line[at:])
        return _record(read) if isinstance(read, dict) else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def saga_ids_in(line: bytes) -> list[str]:
    """The ids of the sagas in a line; more than one where a full disk has torn a line."""
    found = []
    for packed in _WITH_ID.findall(line):
        with suppress(ValueError):  # no id that was ever written
            found.append(json.loads(packed))
    return found


def _record(read: dict[str, Any]) -> LogRecord:
    return LogRecord(
        at=datetime.fromtimestamp(float(read["at"]), UTC),
        step_name=str(read["step"]),
        action=str(read["action"]),
        attempt=int(read["attempt"]),
        level=_text(read.get("level")),
        source=str(read["source"]),
        text=str(read["text"]),
        pid=int(read["pid"]),
        logger=_text(read.get("logger")),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
