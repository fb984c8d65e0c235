"""An application with a connection and rows of its own, and events that it appends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from antistrophe.cqrs import event

DEADLINE_S = 30.0
Own = psycopg.Connection[Any]


@event("callers.noted")
@dataclass(frozen=True)
class Noted:
    what: str


ONE, TWO, THREE = (Noted(each) for each in ("1", "2", "3"))
MANY = [Noted(str(number)) for number in range(1_500)]  # more than one statement


@contextmanager
def connected(url: str, **options: Any) -> Iterator[Own]:
    with closing(psycopg.connect(url, application_name="the shop", **options)) as connection:
        yield connection


def order(own: Own) -> None:
    own.execute("INSERT INTO orders VALUES ('o')")


def orders(own: Own) -> int:
    return len(own.execute("SELECT FROM orders").fetchall())
