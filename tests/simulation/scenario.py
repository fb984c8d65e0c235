"""A scenario: all that a simulated world is made from, drawn from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from antistrophe.definition.spec import Origin, RetryPolicy, SagaSpec, StepSpec
from tests.simulation.faults import RATES, Fault

MACHINERY = frozenset(RATES)
"""The faults that a scenario can leave out."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One world before it runs. ``trouble``: how often a step's call goes wrong by itself; ``undo_fails``: per step,
    how many of its compensations fail at first (None: all of them); ``cancel_after_s``: when it is cancelled;
    ``stray_orders``: when an operator says something out of place; ``attended``: an operator deals with what is
    parked; ``early_orders``: when one resolves a compensation that was not given up; ``on_server``: the journal is in
    PostgreSQL, and not in a file; ``rough_server``: where answers are lost more often than not."""

    seed: int
    spec: SagaSpec
    faults: frozenset[Fault]
    budget: int
    trouble: float
    undo_fails: tuple[int | None, ...]
    cancel_after_s: float | None
    stray_orders: tuple[float, ...]
    attended: bool
    early_orders: tuple[float, ...]
    on_server: bool
    rough_server: bool


def scenario_of(
    seed: int,
    *,
    most_steps: int = 4,
    faults: frozenset[Fault] = MACHINERY,
    on_server: bool | None = None,
    rough_server: bool | None = None,
) -> Scenario:
    """The scenario of that seed; ``faults`` are the ones that may happen in it. ``on_server``: where the journal is,
    and ``rough_server``, how that one is; None: either, as drawn."""
    rng, early = random.Random(f"scenario/{seed}"), random.Random(f"early/{seed}")
    # One world in five is rough: its steps are repeated again and again, and fail in every way.
    rough = rng.random() < 0.2
    steps = 0 if most_steps == 0 or rng.random() < 0.02 else rng.randint(1, most_steps)
    spec = SagaSpec(
        id=f"world-{seed}",
        name="world",
        deadline_s=None if rng.random() < 0.7 else rng.choice((0.5, 3.0, 15.0, 60.0)),
        park_on_failure=rng.random() < 0.6,
        steps=tuple(_step(rng, index, rough=rough) for index in range(steps)),
        origin=Origin(None, (), "/"),
    )
    return Scenario(
        seed=seed,
        spec=spec,
        faults=faults,
        budget=rng.choice((0, 3, 8, 20, 40)),
        trouble=0.7 if rough else rng.choice((0.0, 0.1, 0.25, 0.5)),
        undo_fails=tuple(rng.choice((0, 0, 0, 1, 2, 4, None)) for _ in range(steps)),
        cancel_after_s=None if rng.random() < 0.85 else rng.choice((0.0, 1.0, 5.0, 30.0)) * rng.random(),
        stray_orders=tuple(rng.random() * 40.0 for _ in range(rng.choice((0, 0, 0, 1, 2)))),
        attended=rng.random() < 0.85,
        early_orders=tuple(early.random() ** 2 * 40.0 for _ in range(early.choice((0, 0, 0, 1, 2, 3)))),
        on_server=early.random() < 0.4 if on_server is None else on_server,
        rough_server=random.Random(f"server/{seed}").random() < 0.25 if rough_server is None else rough_server,
    )


def _step(rng: random.Random, index: int, *, rough: bool) -> StepSpec:
    has_policy = rough or rng.random() < 0.7
    idempotent = rng.random() < (0.8 if rough else 0.4)
    retry = RetryPolicy(
        rng.randint(3 if rough else 1, 4), rng.choice((0.1, 1.0, 4.0)), 2.0, 6.0, jitter=rng.random() < 0.7
    )
    if not has_policy:
        retry = RetryPolicy(3 if idempotent else 1)
    fresh = rng.random() < 0.25
    return StepSpec(
        name=f"step-{index}",
        class_ref=f"world:Step{index}",
        input=b"\x80",
        timeout_s=rng.choice((1.0, 3.0, 10.0)),
        kill_grace_s=rng.choice((0.0, 0.5, 4.0)),
        retry=retry,
        retryable_attempts=retry.max_attempts if has_policy else 3,
        compensation_timeout_s=rng.choice((1.0, 5.0, 10.0)),
        compensation_retry=RetryPolicy(rng.randint(1, 4), rng.choice((0.1, 1.0)), 2.0, 10.0, jitter=rng.random() < 0.7),
        idempotent=idempotent,
        atomic=rng.random() < 0.7,
        requires_compensation=rng.random() < 0.85,
        fresh_process=fresh,
        has_verify=rng.random() < 0.4,
        max_concurrent=rng.choice((None, None, None, 1, 4)),
        shared=not fresh and rng.random() < 0.4,
    )
