"""The URL of a journal in a database: whether it is one, and how it is told to people without what is secret in it.

Nothing is shown but what is known to be harmless: hosts, port and name of the database, and the name of a service. A
user's name, a password and all other options stay out of every message.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

JOURNAL_VARIABLE = "ANTISTROPHE_JOURNAL"
"""The environment variable with the URL of the journal, where neither an argument nor a setting names one."""

HIDDEN = "***"
SCHEMES = ("postgresql", "postgres")

_SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret"})
_LONGEST = 4096
_HOST = r"[A-Za-z0-9._%-]*|\[[0-9A-Fa-f:.%]+\]"
_HOSTS = re.compile(rf"(?:{_HOST})(?::[0-9]*)?(?:,(?:{_HOST})(?::[0-9]*)?)*")
_UNREADABLE = "postgresql:///..."


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a URL that can be read. All that is secret is in ``password`` and ``options``."""

    hosts: str
    database: str
    password: str | None
    options: dict[str, str]


def is_url(value: object) -> bool:
    """Whether this is a URL of PostgreSQL that can be read, and whose password was not hidden by ``hidden``."""
    parts = _parts(value)
    return parts is not None and parts.password != HIDDEN


def shown(url: str) -> str:
    """The place for messages: hosts, port and name of the database, and no more. Two URLs that differ in other parts
    alone are shown alike."""
    parts = _parts(url)
    if parts is None:
        return _UNREADABLE
    beside = [f"{name}={parts.options[name]}" for name in ("service", "host", "port") if name in parts.options]
    return f"postgresql://{parts.hosts}{parts.database}" + (f"?{'&'.join(beside)}" if beside else "")


def hidden(url: str) -> str:
    """``shown``, and where a password was in the URL, ``***`` in its place: such a URL is refused as a setting."""
    return shown(url).replace("postgresql://", f"postgresql://:{HIDDEN}@", 1) if has_password(url) else shown(url)


def has_password(url: str) -> bool:
    """Whether there is a password in the URL."""
    parts = _parts(url)
    return parts is not None and (parts.password is not None or not _SECRETS.isdisjoint(parts.options))


def url_of_environment() -> str | None:
    """The URL in ``$ANTISTROPHE_JOURNAL``; None where it is not set, or empty."""
    return os.environ.get(JOURNAL_VARIABLE) or None


def _parts(value: object) -> _Parts | None:
    """The parts of a URL; None where it is none. A character of a password that is not written as %XX would move a part
    of the password to where hosts or options stand: so an ``@``, ``#`` or ``/`` too many makes a text no URL."""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable() or " " in value:
        return None
    try:
        parts = urlsplit(value)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query), errors="strict"))
        unquote(parts.netloc + parts.path, errors="strict")
    except ValueError:
        return None
    login, _, hosts = parts.netloc.rpartition("@")
    misplaced = parts.fragment or "@" in parts.path + parts.query + login or "/" in parts.path[1:]
    if parts.scheme not in SCHEMES or not value.startswith(f"{parts.scheme}://") or misplaced:
        return None
    if _HOSTS.fullmatch(hosts) is None:
        return None
    _, colon, password = login.partition(":")
    return _Parts(hosts, parts.path, password if colon else None, options)
