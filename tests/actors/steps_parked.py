"""Sagas that park, and hooks that are told of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe import RetryPolicy, SagaDefinition, SagaStep

NO_FUNCTION = 5


def told_in(home: Path) -> Path:
    return home.with_name("told.jsonl")


def tell(parked: dict[str, Any]) -> None:
    """Notes what it is given, as one line."""
    with told_in(Path(parked["home"])).open("a") as file:
        file.write(json.dumps(parked) + "\n")


@dataclass(frozen=True)
class NoUndo(SagaStep):
    compensation_retry = RetryPolicy(max_attempts=1)

    def execute(self) -> None: ...

    def compensate(self) -> None:
        raise OSError("the bank is closed")


@dataclass(frozen=True)
class Refuse(SagaStep):
    requires_compensation = False

    def execute(self) -> None:
        raise ValueError("no")


def parking(saga_id: str) -> SagaDefinition:
    return SagaDefinition(saga_id, name="parking").add_step(NoUndo()).add_step(Refuse())
