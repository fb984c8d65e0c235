"""Tells the processes of one system from outsiders: applications, and whatever else runs for the same user.

Outsiders may send requests; only the system's own processes may send what actors tell each other. The launcher makes a
secret before it forks. Forks inherit it, and it is written nowhere. A process that knows the secret opens a connection
with a code, an HMAC of the paths of the sender and the receiver, which is good for these two alone.
"""

from __future__ import annotations

import hashlib
import hmac
import os

CODE_BYTES = 16

_secret: bytes | None = None


def found_system() -> None:
    """Make the secret of a new system: in the launcher, before it forks."""
    global _secret
    _secret = os.urandom(32)


def in_system() -> bool:
    """Whether this process belongs to an actor system."""
    return _secret is not None


def authentication_code(sender: str, receiver: str) -> bytes:
    """The code that shows ``receiver`` that ``sender`` belongs to the same system; empty in a process of no system."""
    if _secret is None:
        return b""
    ends = os.fsencode(f"{os.path.realpath(sender)}\0{os.path.realpath(receiver)}")
    return hmac.digest(_secret, ends, hashlib.sha256)[:CODE_BYTES]


def is_outsider(sender: str, receiver: str, shown: bytes) -> bool:
    """Whether the sender that has shown this code is outside of this process's system. A process that belongs to no
    system has no outsiders."""
    return _secret is not None and not hmac.compare_digest(authentication_code(sender, receiver), shown)
