"""A step of an older release: its event has a version that newer releases have replaced."""

from __future__ import annotations

from dataclasses import dataclass

from antistrophe import SagaStep, event


@event("test.paid", version=1)
@dataclass(frozen=True)
class PaidV1:
    """The event as the older release wrote it."""

    euros: int


@event("test.paid", version=2)
@dataclass(frozen=True)
class Paid:
    """The event today: the amount is in cents."""

    cents: int


@dataclass(frozen=True)
class PayOld(SagaStep):
    """Pays as the older release did."""

    euros: int

    def execute(self) -> list[object]:
        return [PaidV1(self.euros)]

    def compensate(self) -> list[object]:
        return [PaidV1(-self.euros)]
