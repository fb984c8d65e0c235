"""The address of a PostgreSQL database: read from a URL, and told to people without its secrets."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from antistrophe.errors import JournalError

SCHEMES = ("postgresql://", "postgres://")

_SECRETS = ("password", "passfile", "sslpassword", "oauth_client_secret")
_HIDDEN = "***"
_SHORTEST_SECRET = 3
"""A shorter one is not looked for in messages: it would be found in every word. No server tells a password."""

# A network that is cut takes no answer for ever: the kernel finds out where the deadline of a call does not. Whoever
# names these in the URL decides instead.
_OWN_OPTIONS = {
    "application_name": "antistrophe",
    "client_encoding": "UTF8",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """Where a database is, and how to log in there. Only ``where`` is for messages."""

    where: str
    conninfo: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def redacted(self, text: str) -> str:
        """The text without this address's secrets."""
        for secret in self.secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def read_address(url: str, *, answer_s: float) -> PostgresAddress:
    """Read a URL of PostgreSQL. ``answer_s``: how long a call waits for an answer. Raises JournalError, which does not
    repeat the URL: a part of it may be a password."""
    if not isinstance(url, str) or not url.startswith(SCHEMES):
        raise JournalError(
            "the place of a database of PostgreSQL is a URL like postgresql://HOST:PORT/DATABASE; what was given does"
            " not begin so"
        )
    try:
        given: dict[str, Any] = conninfo_to_dict(url)
    except (psycopg.Error, UnicodeError):
        # What libpq says repeats a part of the URL. So the cause is not chained, either.
        raise JournalError(
            "the URL of PostgreSQL can't be read: it is postgresql://USER@HOST:PORT/DATABASE?OPTION=VALUE, with %XX in"
            " the place of characters that mean something there (a password with @ has %40)"
        ) from None
    secrets = [str(given[name]) for name in _SECRETS if name != "passfile" and given.get(name)]
    if os.environ.get("PGPASSWORD"):
        secrets.append(os.environ["PGPASSWORD"])
    own = {**_OWN_OPTIONS, "tcp_user_timeout": str(round(answer_s * 1000))}
    if "service" in given:
        own.pop("application_name")
    return PostgresAddress(
        _where(given),
        make_conninfo("", **{**own, **given}),
        tuple(sorted((each for each in secrets if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)),
    )


def _where(given: dict[str, Any]) -> str:
    """The address for people: hosts, ports and name of the database, and no more."""
    if "service" in given:
        return f"postgresql:///?service={given['service']}"
    host = str(given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "")
    port = str(given.get("port") or os.environ.get("PGPORT") or "")
    name = given.get("dbname") or os.environ.get("PGDATABASE") or given.get("user") or os.environ.get("PGUSER") or ""
    hosts, ports = host.split(","), port.split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if any(each.startswith("/") for each in hosts):  # a folder with a socket can't stand where a host stands
        return f"postgresql:///{name}?host={host}" + (f"&port={port}" if port else "")
    each = [f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False)]
    return f"postgresql://{','.join(each)}/{name}"
