"""Finds the records of one saga in the step log of a home. No system has to run; at most the two files are read."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from io import BufferedReader
from pathlib import Path

from antistrophe.linux.descriptor import file_behind
from antistrophe.logs.step_log import step_log_before, step_log_path
from antistrophe.logs.stored_records import record_in, saga_ids_in, start_of
from antistrophe.records import LogRecord

_LONGEST_LINE = 1 << 20
_TRIES = 5


def records_of(home: str | os.PathLike[str], saga_id: str) -> list[LogRecord]:
    """What the attempts of a saga have said, in the order in which it was written. What can't be read is left out, as
    what a full disk has torn."""
    return StepLogReader(home, saga_id).more()


def last_records(home: str | os.PathLike[str], number: int) -> list[tuple[str, LogRecord]]:
    """The last records of all sagas, each with the id of its saga, in the order in which they were written."""
    lines: deque[bytes] = deque(maxlen=number)
    for path in (step_log_before(home), step_log_path(home)):
        with suppress(OSError), _open(path) or nullcontext(()) as file:
            lines.extend(file)
    ids = [(line, saga_id) for line in lines for saga_id in saga_ids_in(line)[-1:]]
    found = ((saga_id, record_in(line, saga_id)) for line, saga_id in ids)
    return [(saga_id, record) for saga_id, record in found if record is not None]


class StepLogReader:
    """Reads the records of a saga, from the oldest there are. `more` gives those that have come since."""

    def __init__(self, home: str | os.PathLike[str], saga_id: str) -> None:
        self._home = home
        self._saga_id = saga_id
        self._start = start_of(saga_id)
        self._read: dict[tuple[int, int], int] = {}

    def more(self) -> list[LogRecord]:
        """The records that were not read yet."""
        with ExitStack() as opened:
            files = self._opened(opened)
            found = [record for file in files for record in self._records(file)]
            kept = {file_behind(file.fileno()) for file in files}
            self._read = {each: offset for each, offset in self._read.items() if each in kept}
        return found

    def _opened(self, opened: ExitStack) -> list[BufferedReader]:
        """Both files, the older one first. One that is moved away meanwhile is opened once."""
        files: list[BufferedReader] = []
        for _ in range(_TRIES):
            files = [file for file in map(_open, (step_log_path(self._home), step_log_before(self._home))) if file]
            for file in files:
                opened.callback(file.close)
            if not files or _is_at(step_log_path(self._home), files[0]):
                break
        found = {file_behind(file.fileno()): file for file in reversed(files)}
        return [*found.values()]

    def _records(self, file: BufferedReader) -> Iterator[LogRecord]:
        identity = file_behind(file.fileno())
        assert identity is not None, "it is open"
        offset = self._read.get(identity, 0)
        if offset > os.fstat(file.fileno()).st_size:  # it was emptied
            offset = 0
        file.seek(offset)
        while line := file.readline(_LONGEST_LINE):
            if not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
                break  # it is being written, or was torn: it is read again with what comes next
            offset += len(line)
            if self._start in line and (record := record_in(line, self._saga_id)) is not None:
                yield record
        self._read[identity] = offset


def _open(path: Path) -> BufferedReader | None:
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(file).st_mode):
            return open(file, "rb")
        os.close(file)
    return None


def _is_at(path: Path, file: BufferedReader) -> bool:
    with suppress(OSError):
        there = path.lstat()
        return there[1:3] == file_behind(file.fileno())
    return False
