"""Tells the processes of one system from its guests: only what its launcher has forked can seal its connections.

Applications, and whatever else runs for the same user, may ask; what the actors tell each other is theirs alone. The
secret is inherited by fork and never written anywhere; a seal is good for one sender and one receiver.
"""

from __future__ import annotations

import hashlib
import hmac
import os

CODE_BYTES = 16

_secret: bytes | None = None


def found_system() -> None:
    """In the launcher, before it forks: from now on there is an inside and an outside."""
    global _secret
    _secret = os.urandom(32)


def authentication_code(sender: str, receiver: str) -> bytes:
    """What shows ``receiver`` that ``sender`` is of the same system; nothing in a process that is of none."""
    if _secret is None:
        return b""
    ends = f"{os.path.realpath(sender)}\0{os.path.realpath(receiver)}".encode("utf-8", "surrogateescape")
    return hmac.digest(_secret, ends, hashlib.sha256)[:CODE_BYTES]


def is_outsider(sender: str, receiver: str, shown: bytes) -> bool:
    """Whether who has shown this is none of this process's own system. A process that is of none has no guests."""
    return _secret is not None and not hmac.compare_digest(authentication_code(sender, receiver), shown)
