"""Reads the moments that PostgreSQL sends: as datetimes in UTC, whatever the time zone of the session is.

psycopg gives them the zone of the session, which is a setting of the server, the database or the user.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

_MICROSECONDS = struct.Struct("!q")
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class MomentLoader(Loader):
    """From the bytes of a ``timestamptz`` to a datetime."""

    format = Format.BINARY

    def load(self, data: Buffer) -> datetime:
        """The moment. Raises psycopg.DataError for one that no datetime can be, such as infinity."""
        (microseconds,) = _MICROSECONDS.unpack(data)
        try:
            return _BEGINNING + timedelta(microseconds=microseconds)
        except OverflowError as error:
            raise psycopg.DataError(f"a moment that is too far away: {microseconds} us from the year 2000") from error
