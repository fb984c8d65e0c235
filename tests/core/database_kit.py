"""What tests of the SQLite file share: how it is opened, and one row that can be written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database

INSERT = "INSERT INTO snapshots(stream, version, state, recorded_at) VALUES (?, ?, ?, 0)"


@contextlib.contextmanager
def opened(path: Path, **options: object) -> Iterator[Database]:
    """The database, until the end of the block."""
    with contextlib.closing(open_database(path, **options)) as database:  # type: ignore[arg-type]
        yield database
