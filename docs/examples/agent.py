"""An agent's tool calls: each tool has an undo, so that a plan takes effect as a whole, or leaves nothing behind.

The plans are what a language model has answered. A call of the second one hangs, and is killed after half a second.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from antistrophe import SagaDefinition, SagaError, SagaOrchestrator, SagaStep, StepContext, StepResult, step

PLANS = {
    "trip": """[{"tool": "book_flight", "arguments": {"to": "Athens"}},
                {"tool": "book_hotel", "arguments": {"city": "Athens", "nights": 2}},
                {"tool": "book_hotel", "arguments": {"city": "Delphi", "nights": 1}}]""",
    "far-trip": """[{"tool": "book_flight", "arguments": {"to": "Thule"}},
                    {"tool": "book_hotel", "arguments": {"city": "Thule", "nights": 9}},
                    {"tool": "browse", "arguments": {"url": "https://ferries.thule.example"}}]""",
    "odd-trip": """[{"tool": "rm_rf", "arguments": {"path": "/"}}]""",
}
BOOKINGS = Path("bookings")


def add(ctx: StepContext, text: str) -> StepResult[str]:
    BOOKINGS.mkdir(exist_ok=True)
    BOOKINGS.joinpath(ctx.forward_key).write_text(text)
    return StepResult(output=f"booked: {text}")  # what the model is told


def cancel(ctx: StepContext) -> None:
    BOOKINGS.joinpath(ctx.forward_key).unlink(missing_ok=True)  # there is nothing, if the call never came so far


@step(timeout_s=5)
def book_flight(ctx: StepContext, to: str) -> StepResult[str]:
    return add(ctx, f"a flight to {to}")


@book_flight.compensation
def cancel_flight(ctx: StepContext, to: str) -> None:
    cancel(ctx)


@step(timeout_s=5)
def book_hotel(ctx: StepContext, city: str, nights: int) -> StepResult[str]:
    return add(ctx, f"{nights} night(s) in {city}")


@book_hotel.compensation
def cancel_hotel(ctx: StepContext, city: str, nights: int) -> None:
    cancel(ctx)


@step(timeout_s=0.5, kill_grace_s=0.1, requires_compensation=False)  # it only reads
def browse(ctx: StepContext, url: str) -> None:
    time.sleep(3600)


TOOLS: dict[str, Callable[..., SagaStep]] = {"book_flight": book_flight, "book_hotel": book_hotel, "browse": browse}


def saga_of(name: str, plan: str) -> SagaDefinition:
    saga = SagaDefinition(name, name="plan")
    for number, call in enumerate(json.loads(plan), 1):
        saga = saga.add_step(TOOLS[call["tool"]](**call["arguments"]), name=f"{number} {call['tool']}")
    return saga


if __name__ == "__main__":
    with SagaOrchestrator() as orchestrator:
        for name, plan in PLANS.items():
            try:
                print(*orchestrator.start(saga_of(name, plan)).outputs().values(), sep="\n")
            except (SagaError, KeyError, TypeError, ValueError) as error:  # an error for the model to read
                print(type(error).__name__, error)
        print("left:", *sorted(each.read_text() for each in BOOKINGS.iterdir()), sep="\n  ")
