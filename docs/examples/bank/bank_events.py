"""What happens in the bank, and how events of its first release are read today."""

from dataclasses import dataclass
from typing import Any

from antistrophe.cqrs import VersionRegistry, event

versions = VersionRegistry()


@event("bank.opened", version=2)
@dataclass(frozen=True)
class Opened:
    account: str
    cents: int


@event("bank.debited")
@dataclass(frozen=True)
class Debited:
    account: str
    cents: int


@event("bank.credited")
@dataclass(frozen=True)
class Credited:
    account: str
    cents: int


@event("bank.taken_back")
@dataclass(frozen=True)
class TakenBack:
    account: str
    cents: int  # what this adds to the account: below 0 where a credit is taken back


@versions.upcaster("bank.opened", from_version=1)
def to_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"account": data["account"], "cents": int(data["euros"] * 100)}


versions.check()


def change(happened: object) -> tuple[str, int]:
    """Whose balance an event changes, and by how many cents."""
    match happened:
        case Opened(account, cents) | Credited(account, cents) | TakenBack(account, cents):
            return account, cents
        case Debited(account, cents):
            return account, -cents
    raise LookupError(f"not of this bank: {happened!r}")
