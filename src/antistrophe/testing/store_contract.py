"""The contract of an event backend, as checks that you can run over a backend of your own.

With pytest, where ``make_backend`` opens a new, empty backend::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(make_backend())

Each check closes the backend that it was given, and raises AssertionError if the backend breaks the contract. A backend
with ``positions_have_gaps`` may leave positions free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing

from antistrophe.errors import ConcurrencyError
from antistrophe.eventstore.backend import EventBackend, NewEvent, SharedPositions, StoredEvent, StoredSnapshot

Check = Callable[[EventBackend], None]

_THREADS = 4
_APPENDS = 25
_DEADLINE_S = 60.0


def _events(*names: str) -> list[NewEvent]:
    return [NewEvent(name, 1, name.encode()) for name in names]


def _append(backend: EventBackend, stream: str, *names: str, expected: int | None = None) -> int:
    with backend.transaction() as writer:
        return writer.append(stream, _events(*names), expected)


def _equal(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r}, not {actual!r}")


def _places(rows: Sequence[StoredEvent]) -> list[tuple[int, str, int, str]]:
    """Position, stream, version and type of each."""
    return [row[:4] for row in rows]


def _places_without_gaps(backend: EventBackend, rows: Sequence[StoredEvent]) -> list[tuple[int, str, int, str]]:
    """The same; where the backend may leave positions free, those count that are taken."""
    places = _places(rows)
    if not (isinstance(backend, SharedPositions) and backend.positions_have_gaps):
        return places
    positions = [place[0] for place in places]
    _equal(positions, sorted(set(positions)), "positions grow")
    return [(number, *place[1:]) for number, place in enumerate(places, 1)]


def a_new_backend_is_empty(backend: EventBackend) -> None:
    """A new backend holds nothing."""
    with closing(backend):
        _equal(backend.read(0, None), [], "all events")
        _equal(backend.read_stream("s", 0), [], "a stream that does not exist")
        _equal((backend.version("s"), backend.head()), (0, 0), "version and head")
        _equal(backend.latest_snapshot("s"), None, "snapshot")
        stats = backend.stats()
        _equal((stats.events, stats.streams, stats.snapshots), (0, 0, 0), "stats")


def events_come_back_as_they_were(backend: EventBackend) -> None:
    """A backend does not change texts, bytes or metadata."""
    with closing(backend):
        data = bytes(range(256))
        with backend.transaction() as writer:
            writer.append("strøm \n 1", [NewEvent("a.type", 3, data, b"meta"), NewEvent("b", 1, b"")])
        first, second = backend.read(0, None)
        _equal(first[:7], (1, "strøm \n 1", 1, "a.type", 3, data, b"meta"), "the first event")
        _equal(second[:7], (2, "strøm \n 1", 2, "b", 1, b"", None), "the second event")
        if not 10**15 < first[7] <= second[7] < 10**16:
            raise AssertionError(f"recorded_at is in microseconds since the epoch and grows: {first[7]}, {second[7]}")
        _equal(backend.read_stream("strøm \n 1", 0), [first, second], "the same, read by stream")


def positions_count_over_all_streams(backend: EventBackend) -> None:
    """Positions count over all streams, versions within each. Both ways of reading keep the order and the bounds."""
    with closing(backend):
        _equal(_append(backend, "a", "a1", "a2"), 2, "version after two")
        _equal(_append(backend, "b", "b1"), 1, "version of another stream")
        _equal(_append(backend, "a", "a3"), 3, "version after three")
        rows = [(1, "a", 1, "a1"), (2, "a", 2, "a2"), (3, "b", 1, "b1"), (4, "a", 3, "a3")]
        _equal(_places(backend.read(0, None)), rows, "all events")
        _equal(_places(backend.read_stream("a", 0)), [rows[0], rows[1], rows[3]], "a stream")
        _equal(_places(backend.read_stream("a", 2)), [rows[3]], "behind a version")
        _equal(_places(backend.read_stream("a", 9)), [], "behind the last version")
        _equal(_places(backend.read(1, 2)), rows[1:3], "a part")
        _equal(_places(backend.read(1, 0)), [], "no more than none")
        _equal(_places(backend.read(9, None)), [], "behind the last position")
        _equal((backend.version("a"), backend.version("b"), backend.head()), (3, 1, 4), "versions and head")
        stats = backend.stats()
        _equal((stats.events, stats.streams), (4, 2), "stats")


def an_expected_version_is_kept(backend: EventBackend) -> None:
    """A wrong expected version appends nothing, and the error says which is right."""
    with closing(backend):
        _append(backend, "s", "1", expected=0)
        for wrong in (0, 2):
            try:
                _append(backend, "s", "2", expected=wrong)
            except ConcurrencyError as error:
                _equal((error.stream, error.expected, error.actual), ("s", wrong, 1), "what the error says")
            else:
                raise AssertionError(f"version {wrong} was expected, the stream is at 1, and nothing was raised")
        _equal(_append(backend, "s", "2", expected=1), 2, "version")
        _equal(_append(backend, "s", expected=2), 2, "nothing appended")
        _equal(_places(backend.read(0, None)), [(1, "s", 1, "1"), (2, "s", 2, "2")], "all events")


def a_transaction_is_all_or_nothing(backend: EventBackend) -> None:
    """After an exception nothing of the transaction is there, and no position is used up."""
    with closing(backend):
        _append(backend, "s", "1")
        try:
            with backend.transaction() as writer:
                _equal(writer.append("s", _events("2", "3")), 3, "version within the transaction")
                _equal(writer.append("t", _events("1")), 1, "version within the transaction")
                writer.append("s", _events("4"), 1)
        except ConcurrencyError as error:
            _equal(error.actual, 3, "a transaction sees what it has appended itself")
        _equal(_places(backend.read(0, None)), [(1, "s", 1, "1")], "nothing of what failed")
        with backend.transaction() as writer:
            writer.append("t", _events("1"))
            writer.append("s", _events("2"), 1)
            writer.append("t", _events("2"), 1)
        rows = [(1, "s", 1, "1"), (2, "t", 1, "1"), (3, "s", 2, "2"), (4, "t", 2, "2")]
        _equal(_places_without_gaps(backend, backend.read(0, None)), rows, "positions have no gap")


def what_is_not_committed_is_not_seen(backend: EventBackend) -> None:
    """Nobody sees what is not committed, not even the thread whose transaction it is."""
    with closing(backend):
        seen: list[object] = []

        def look() -> None:
            seen.append((backend.head(), backend.version("s"), len(backend.read(0, None))))

        with backend.transaction() as writer:
            writer.append("s", _events("1", "2"))
            look()
        look()
        _equal(seen, [(0, 0, 0), (2, 2, 2)], "head, version and events within the transaction and after it")


def an_event_id_is_stored_once(backend: EventBackend) -> None:
    """A second event with the same id is not stored, whatever its stream."""
    with closing(backend):
        one, two = (NewEvent(str(number), 1, b"", event_id=bytes([number] * 16)) for number in (1, 2))
        with backend.transaction() as writer:
            _equal(writer.append("s", [one]), 1, "version")
        with backend.transaction() as writer:
            _equal(writer.append("t", [one]), 0, "version when all are stored already")
            _equal(writer.append("s", [one, two, two, *_events("3")]), 3, "version when some are")
            _equal(writer.append("s", [two]), 3, "version when it was stored in the same transaction")
        rows = [(1, "s", 1, "1"), (2, "s", 2, "2"), (3, "s", 3, "3")]
        _equal(_places_without_gaps(backend, backend.read(0, None)), rows, "events")


def the_latest_snapshot_is_that_of_the_highest_version(backend: EventBackend) -> None:
    """The latest snapshot does not depend on the order of saving."""
    with closing(backend):
        for version, state in ((2, b"two"), (10, b"ten"), (9, b"nine"), (10, b"ten again")):
            backend.save_snapshot(StoredSnapshot("s", version, state, 1_000_000 + version))
        backend.save_snapshot(StoredSnapshot("t", 99, b"other", 0))
        _equal(backend.latest_snapshot("s"), StoredSnapshot("s", 10, b"ten again", 1_000_010), "snapshot")
        _equal(backend.latest_snapshot("u"), None, "snapshot of another stream")
        _equal(backend.stats().snapshots, 4, "stats")


def threads_append_without_a_gap(backend: EventBackend) -> None:
    """Threads that append to one stream, each at the version that it expects, fill it without a gap."""
    with closing(backend):
        problems: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for _ in range(_APPENDS):
                    _append_after_retries(backend, f"thread {number}")
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_DEADLINE_S)
        _equal(problems, [], "problems of threads")
        _equal([thread.is_alive() for thread in threads], [False] * _THREADS, "threads at work")
        rows = backend.read(0, None)
        count = _THREADS * _APPENDS
        positions = [place[0] for place in _places_without_gaps(backend, rows)]
        _equal(positions, list(range(1, count + 1)), "positions")
        _equal([row[2] for row in rows], list(range(1, count + 1)), "versions")


def _append_after_retries(backend: EventBackend, name: str) -> None:
    while True:
        try:
            _append(backend, "s", name, expected=backend.version("s"))
        except ConcurrencyError:
            continue
        return


def it_can_be_flushed_and_closed_twice(backend: EventBackend) -> None:
    """Flushing loses nothing, and a second close does nothing."""
    _append(backend, "s", "1")
    backend.flush()
    backend.flush()
    _equal(backend.head(), 1, "head")
    backend.close()
    backend.close()


CHECKS: tuple[Check, ...] = (
    a_new_backend_is_empty,
    events_come_back_as_they_were,
    positions_count_over_all_streams,
    an_expected_version_is_kept,
    a_transaction_is_all_or_nothing,
    what_is_not_committed_is_not_seen,
    an_event_id_is_stored_once,
    the_latest_snapshot_is_that_of_the_highest_version,
    threads_append_without_a_gap,
    it_can_be_flushed_and_closed_twice,
)
