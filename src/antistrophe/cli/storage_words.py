"""What `doctor` says of the size of a journal, and of how it grows."""

from __future__ import annotations

from datetime import UTC, datetime

from antistrophe.journal.growth import Growth
from antistrophe.narration.phrases import mebibytes
from antistrophe.narration.times import age
from antistrophe.storage.postgres_feed import OpenTransaction

LARGE_LOG_BYTES = 64 << 20
MUCH_FREE_BYTES = 16 << 20


def size_in_words(growth: Growth) -> str:
    """How large the file and its log are, how fast it grows, and how old its oldest finished saga is."""
    said = [f"{mebibytes(growth.file_bytes)} ({mebibytes(growth.free_bytes)} free), log {mebibytes(growth.log_bytes)}"]
    if growth.sagas_a_day is not None and growth.bytes_a_saga is not None:
        said.append(f"{growth.sagas_a_day:,.0f} sagas a day of late, {growth.bytes_a_saga / 1024:,.1f} KiB each")
    if growth.oldest_finished is not None:
        said.append(f"the oldest finished saga ended {age(datetime.now(UTC) - growth.oldest_finished)} ago")
    return "; ".join(said)


def what_to_do(growth: Growth) -> str | None:
    """What makes the file smaller, where there is something."""
    if growth.log_bytes > LARGE_LOG_BYTES:
        return "a program reads for so long that the log can't be used anew: fuser names who has the file open"
    if growth.free_bytes > MUCH_FREE_BYTES and not growth.can_shrink:
        return "antistrophe compact, while no system runs, gives the free part back"
    return None


END_IT = "have it end: subscriptions, projections and traces wait for it, though no saga does"


def open_in_words(found: OpenTransaction) -> str:
    """A transaction of PostgreSQL for which readers by position wait, and nothing of what it does."""
    who = "a prepared transaction" if found.pid is None else f"process {found.pid} of the server"
    since = "nobody may say since when" if found.since is None else f"since {found.since.isoformat(timespec='seconds')}"
    return f"{who} ({found.application or 'without a name'}, user {found.user}) has a transaction open, {since}"
