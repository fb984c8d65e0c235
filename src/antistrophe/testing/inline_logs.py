"""What the steps of an inline run log and print: kept for its outcome, and shown as it would be without it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from antistrophe.logs.attempt_output import STDERR, STDOUT
from antistrophe.logs.handler import AttemptHandler
from antistrophe.logs.speaking import Speakers
from antistrophe.logs.stored_records import record_in
from antistrophe.logs.streams import Echo
from antistrophe.messages import RunStep
from antistrophe.records import LogRecord
from antistrophe.settings import Settings


class InlineLogs:
    """The records of one run, in memory, and no more than a system would keep of each attempt."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._saga_id = ""
        self._speakers = Speakers(self._keep, Settings().step_log_bytes)

    @property
    def records(self) -> list[LogRecord]:
        """All records until now."""
        found = (record_in(line, self._saga_id) for line in self._lines)
        return [record for record in found if record is not None]

    @contextmanager
    def heard(self, message: RunStep) -> Iterator[None]:
        """Within this, the attempt of the message speaks."""
        self._saga_id = message.saga_id
        output = self._speakers.output_of(message.saga_id, message.step_name, message.action.value, message.run)
        self._speakers.begin(output)
        before = sys.stdout, sys.stderr
        sys.stdout = Echo(before[0], STDOUT, self._speakers.speaker)
        sys.stderr = Echo(before[1], STDERR, self._speakers.speaker)
        root = logging.getLogger()
        # Where nobody handles records, logging itself shows warnings: it must go on to do so.
        handler = AttemptHandler(None if root.handlers else logging.lastResort, self._speakers.speaker)
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            self._speakers.end()
            sys.stdout, sys.stderr = before

    def _keep(self, line: bytes) -> bool:
        self._lines.append(line)
        return True
