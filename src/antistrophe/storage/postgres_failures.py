"""What to tell people when PostgreSQL fails. A failure becomes a JournalError that names the database and says what to
do, without secrets."""

from __future__ import annotations

import re

import psycopg

from antistrophe.errors import JournalBusyError, JournalError
from antistrophe.storage.postgres_address import PostgresAddress

_GONE = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})
"""The server has ended the session, or takes none: it stops, has crashed, starts up, or waited too long for us."""

_BUSY = frozenset({"55P03", "40P01", "40001", "57014"})
_ADVICE = {
    "53100": "the disk of the server is full and nothing was written; free some space there and try again",
    "53200": "the server is out of memory, and nothing was written; try again later",
    "53300": "the server takes no more connections; raise its max_connections, or put a pooler in between",
    "57P03": "the server starts up, or stops; try again soon",
    "25006": (
        "this server takes no writes: it is a standby, or set to read only; name the primary, or add"
        " target_session_attrs=read-write to the URL"
    ),
    "42501": "the user of the URL lacks a right there; grant it, or have the owner of the schema do this once",
    "3D000": "there is no such database; make it first (createdb)",
    "28P01": "the password is wrong or missing; give it in a file (PGPASSFILE), in the URL or in PGPASSWORD",
    "28000": "the server refuses this login; see its pg_hba.conf",
    "40P01": "another transaction and this one waited for each other, and nothing was written; try again",
    "40001": "another transaction was faster, and nothing was written; try again",
    "55P03": (
        "another transaction holds a lock there for too long, and nothing was written; pg_stat_activity and"
        " pg_blocking_pids() name it; have it end, or try again later"
    ),
    "57014": "the statement took too long or was cancelled there, and nothing was written; try again later",
    "42P01": "a table is missing there; was the schema changed by hand? Restore it from a backup",
    "XX001": "the server has found damaged data; restore the database from a backup",
    "XX002": "the server has found a damaged index; have it built anew (REINDEX)",
}
_CLASSES = {
    "08": "the connection failed; is the server running, and does the network reach it?",
    "53": "the server has too little of something, and nothing was written; see its log",
    "58": "the server's own disk or system failed it; see its log",
}
# While it connects, libpq tells no code but a text, which servers in other languages word otherwise.
_LOGINS = (
    (re.compile(r'database ".*" does not exist'), "3D000"),
    (re.compile("password authentication failed|no password supplied"), "28P01"),
    (re.compile("too many (clients|connections)|remaining connection slots"), "53300"),
    (re.compile("starting up|shutting down|in recovery mode|not yet accepting"), "57P03"),
    (re.compile("pg_hba.conf|authentication failed"), "28000"),
    (re.compile("not writable|read-only|read-write"), "25006"),
)
_REFUSED = "the server refuses the connection, and says why"
_UNREACHABLE = "the server can't be reached; is it running, and are host, port and network right?"


def is_lost(error: BaseException | None, connection: psycopg.Connection[tuple[object, ...]] | None) -> bool:
    """Whether the connection is of no use any more after that error."""
    if connection is None or connection.closed:
        return True
    code = getattr(error, "sqlstate", None) or ""
    return code in _GONE or code.startswith("08")


def refusal(address: PostgresAddress, error: psycopg.Error, *, connecting: bool = False) -> JournalError:
    """Make the JournalError for an error of psycopg."""
    code = error.sqlstate or (_code_of_login(str(error)) if connecting else "")
    advice = _ADVICE.get(code) or _CLASSES.get(code[:2])
    if advice is None and connecting:
        advice = _REFUSED if "FATAL:" in str(error) else _UNREACHABLE
    if advice is None:
        lost = isinstance(error, psycopg.OperationalError) and not code
        advice = "the connection was lost; try again" if lost else "please report this"
    kind = JournalBusyError if code in _BUSY else JournalError
    return kind(f"{address.where}: {advice} (PostgreSQL: {said_by(address, error)})")


def _code_of_login(said: str) -> str:
    return next((code for pattern, code in _LOGINS if pattern.search(said)), "")


def said_by(address: PostgresAddress, error: psycopg.Error) -> str:
    """What the server, or the driver, says, in one line without secrets."""
    said = error.diag.message_primary or str(error)
    return address.redacted(" ".join(said.split())) or type(error).__name__


def cause_of(address: PostgresAddress, error: psycopg.Error) -> psycopg.Error | None:
    """The error, to be chained to the one for people; None where its text has a secret."""
    text = str(error)
    return error if address.redacted(text) == text else None
