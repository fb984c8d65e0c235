"""Writes transfers.jsonl, always the same: `python -m docs.examples.transfers.generate`."""

from __future__ import annotations

import json
import random
from pathlib import Path

from docs.examples.transfers.saga import ACCOUNTS, DIES_AFTER, DIES_WITHIN, HANGS_AFTER, HANGS_BEFORE, account_name

TRANSFERS = 1_000
SEED = 20_260
LARGEST_AMOUNT = 9_999
TOO_MUCH = 100_000_000  # more than all accounts together

# How many lines of each kind go wrong, and how.
ACCIDENTS = {HANGS_BEFORE: 4, HANGS_AFTER: 4, DIES_WITHIN: 6, DIES_AFTER: 6}
UNKNOWN_PAYERS = 15
UNKNOWN_RECEIVERS = 35
TOO_POOR = 30


def lines(count: int = TRANSFERS, seed: int = SEED) -> list[dict[str, object]]:
    """The transfers, in order; those that go wrong are spread over them."""
    draw = random.Random(seed)
    names = [account_name(number) for number in range(1, ACCOUNTS + 1)]
    accidents = [amount for amount, number in ACCIDENTS.items() for _ in range(number)]
    special = draw.sample(range(count), len(accidents) + UNKNOWN_PAYERS + UNKNOWN_RECEIVERS + TOO_POOR)
    amounts = dict(zip(special, accidents, strict=False))
    unknown_payers = set(special[len(accidents) :][:UNKNOWN_PAYERS])
    unknown_receivers = set(special[len(accidents) + UNKNOWN_PAYERS :][:UNKNOWN_RECEIVERS])
    too_poor = set(special[-TOO_POOR:])
    made: list[dict[str, object]] = []
    for number in range(count):
        payer, receiver = draw.sample(names, 2)
        amount = amounts.get(number) or _ordinary_amount(draw)
        made.append(
            {
                "id": f"transfer-{number + 1:04}",
                "from": "ACC-99" if number in unknown_payers else payer,
                "to": "ACC-98" if number in unknown_receivers else receiver,
                "amount": TOO_MUCH if number in too_poor else amount,
            }
        )
    return made


def _ordinary_amount(draw: random.Random) -> int:
    amount = draw.randint(1, LARGEST_AMOUNT)
    return amount + 1 if amount in ACCIDENTS else amount


if __name__ == "__main__":
    text = "".join(json.dumps(line) + "\n" for line in lines())
    Path(__file__).with_name("transfers.jsonl").write_text(text, "utf-8")
