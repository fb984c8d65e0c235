"""What an append goes on from: the last entry of its saga, as the one who decided on it knows it.

The number of an entry does not do. A server that has taken over may lack an entry that somebody has read, and have
another one by the same number. The bytes of an entry stay as they are while its saga goes on: in a dump, in a copy, and
in a release that packs entries in another way. Two entries that are packed alike are the same one, for each has its
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256


def digest_of_entry(packed: bytes) -> bytes:
    """What tells an entry from any other, from its bytes in the journal. The server makes it in the same way."""
    return sha256(packed, usedforsecurity=False).digest()


@dataclass(frozen=True, slots=True)
class Basis:
    """By what an actor writes to its saga. ``token``: by which its host owned the saga when the actor read it.
    ``last``: the digest of the last entry that the actor knows; None where the journal is in a file, whose entries
    stay, or the saga is new."""

    token: int
    last: bytes | None


NEW_SAGA = Basis(1, None)
"""By what a host writes to a saga that it accepts."""
