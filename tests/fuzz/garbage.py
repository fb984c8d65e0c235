"""Made-up input: bytes at random, and valid msgpack with one thing wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
from hypothesis import strategies as st

_HOLE = msgpack.ExtType(99, b"A-HOLE-!")
_HOLE_BYTES = msgpack.packb(_HOLE)
DEEP = 3_000

# What stands where something else was declared, as msgpack: nothing that a packer would refuse is left out.
STRANGERS: tuple[bytes, ...] = (
    b"\xc0",
    b"\xc2",
    b"\x00",
    b"\xff",
    b"\xcf" + b"\xff" * 8,  # the largest whole number
    b"\xd3\x80" + b"\x00" * 7,  # the smallest
    b"\xcb\x7f\xf8" + b"\x00" * 6,  # NaN
    b"\xcb\x7f\xf0" + b"\x00" * 6,  # infinity
    b"\xcb\xff\xef" + b"\xff" * 6,  # a float that no moment of time is
    b"\xa0",
    b"\xa1\x00",
    b"\xa3\xed\xa0\x80",  # a lone surrogate
    b"\xa2\xff\xfe",  # no UTF-8 at all
    b"\xda\x13\x88" + b"x" * 5_000,
    b"\xc4\x00",
    b"\xc4\x03abc",
    b"\x90",
    b"\x80",
    b"\x81\x01\x02",
    b"\x82\xa1a\x01\xa1a\x02",  # the same key twice
    b"\x81\x90\xc0",  # a key that can't be one
    b"\x81\xc7\x00\x01\xc0",
    b"\xc1",  # no msgpack
    b"\xdd\xff\xff\xff\xff",  # lengths that nothing stands behind
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x02",
    b"\x91" * DEEP + b"\xc0",
    b"\x81\xa0" * DEEP + b"\xc0",
    b"\x92\xc7\x00\x01" * DEEP,
    *(msgpack.packb(msgpack.ExtType(code, data)) for code in (*range(14), 64, 65, 127) for data in (b"", b"\x91\xc0")),
    msgpack.packb(msgpack.ExtType(4, b"\x7f" * 2_000)),  # a number of more digits than Python writes
    msgpack.packb(msgpack.ExtType(5, b"2026-01-01T00:00:00[../../etc/passwd]")),
    msgpack.packb(msgpack.ExtType(5, b"9999-12-31T23:59:59+00:00[Pacific/Kiritimati]")),
    msgpack.packb(msgpack.ExtType(8, b"\x7f\xff\xff\xff" * 3)),
    msgpack.packb(msgpack.ExtType(9, b"1e999999999")),
    b"\xd6\xff\xff\xff\xff\xff",  # the timestamps of msgpack itself
    b"\xc7\x0c\xff" + b"\xff" * 12,
)


def spoiled(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes at random, or one of the samples (msgpack) with something wrong in it; now and then a sample as it is."""
    chance = st.randoms(use_true_random=False)
    return st.one_of(
        st.binary(max_size=120),
        st.builds(_torn, st.sampled_from(samples), chance),
        st.builds(_misled, st.sampled_from(samples), chance),
        st.builds(_misled, st.sampled_from(samples), chance),
        st.sampled_from(samples),
        st.sampled_from(STRANGERS),
    )


def _torn(data: bytes, chance: random.Random) -> bytes:
    """A few of its bytes are flipped, missing, doubled or in the wrong place."""
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, max(0, len(spoilt) - 1))
        other = chance.randint(0, len(spoilt))
        change = chance.choice(_CHANGES)
        change(spoilt, at, other, chance)
    return bytes(spoilt)


def _flip(data: bytearray, at: int, _other: int, chance: random.Random) -> None:
    if data:
        data[at] ^= 1 << chance.randint(0, 7)


def _cut(data: bytearray, at: int, _other: int, _chance: random.Random) -> None:
    del data[at:]


def _lose(data: bytearray, at: int, other: int, _chance: random.Random) -> None:
    del data[at : min(other, at + 9)]


def _double(data: bytearray, at: int, other: int, _chance: random.Random) -> None:
    data[other:other] = data[at : at + 20]


def _put(data: bytearray, at: int, _other: int, chance: random.Random) -> None:
    data[at : at + 1] = chance.choice(STRANGERS)


_CHANGES: tuple[Callable[[bytearray, int, int, random.Random], None], ...] = (_flip, _cut, _lose, _double, _put)


def _misled(data: bytes, chance: random.Random) -> bytes:
    """Whole msgpack, in which one value, key or field is a stranger, missing or doubled."""
    tree = msgpack.unpackb(data, strict_map_key=False, unicode_errors="surrogatepass")
    places = list(_places(tree))
    if not places:
        return chance.choice(STRANGERS)
    container, key = chance.choice(places)
    what = chance.randint(0, 5)
    if what == 0:
        del container[key]
    elif what == 1 and isinstance(container, list):
        container.insert(key, container[key])
    elif what == 2 and isinstance(container, dict):
        container[_HOLE] = container.pop(key)
    else:
        container[key] = _HOLE
    packed: bytes = msgpack.Packer(unicode_errors="surrogatepass").pack(tree)
    return packed.replace(_HOLE_BYTES, chance.choice(STRANGERS))


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    left = [tree]
    while left:
        node = left.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            left.append(node[key])
    return found
