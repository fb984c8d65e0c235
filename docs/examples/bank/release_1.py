"""The first release of the bank: it opened accounts, counted in euros, and is history."""

import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from vault import book

from antistrophe.cqrs import EventStore, event


@event("bank.opened")
@dataclass(frozen=True)
class Opened:
    account: str
    euros: Decimal


def open_accounts(folder: Path) -> None:
    (folder / "home").mkdir(mode=0o700, parents=True, exist_ok=True)
    with EventStore(folder / "home" / "journal.db") as store:
        for account, euros in (("alice", Decimal("1000.00")), ("bob", Decimal("50.00"))):
            book(str(folder / "vault.db"), f"open-{account}", account, int(euros * 100), opening=True)
            if store.version(account) == 0:
                store.append(account, [Opened(account, euros)], expected_version=0)


if __name__ == "__main__":
    open_accounts(Path(sys.argv[1]))
