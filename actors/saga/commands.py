"""What an order from outside means to the saga that it is for."""

from __future__ import annotations

from antistrophe.errors import RequestError
from antistrophe.messages import ResolveStep, SagaOrder
from antistrophe.saga.inputs import Input, ResolveAsked
from antistrophe.saga.state import Saga


def input_of(order: SagaOrder, saga: Saga) -> Input:
    """The order as the machine hears it. Raises RequestError where there is nothing in the saga that it could mean."""
    said = order.order
    if not isinstance(said, ResolveStep):
        return said
    for index, step in enumerate(saga.spec.steps):
        if step.name == said.step_name and saga.steps[index].given_up is not None:
            return ResolveAsked(index, said.note, said.by)
    raise RequestError(f"saga {saga.id!r} has no step {said.step_name!r} whose compensation has failed for good")
