"""Turns an order to a saga into an input of its machine."""

from __future__ import annotations

from antistrophe.errors import RequestError
from antistrophe.messages import ResolveStep, SagaOrder
from antistrophe.saga.inputs import Input, ResolveAsked
from antistrophe.saga.resolving import resolvable, why_not
from antistrophe.saga.state import Saga


def input_of(order: SagaOrder, saga: Saga) -> Input:
    """The input that the machine gets for this order. Raises RequestError if the order does not fit the saga."""
    said = order.order
    if not isinstance(said, ResolveStep):
        return said
    for index in resolvable(saga):
        if saga.spec.steps[index].name == said.step_name:
            return ResolveAsked(index, said.note, said.by)
    raise RequestError(why_not(saga, said.step_name))
