"""The orders that a person gives on a page: the system that runs is attached to for them, and left again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from antistrophe.client.introduction import Introduction, as_tool
from antistrophe.client.request_reply import Requests
from antistrophe.errors import AntistropheError, RequestError
from antistrophe.launcher.attachment import Attachment
from antistrophe.messages import Done, OrderSaga, ResolveStep
from antistrophe.saga.inputs import CancelAsked, RetryAsked
from antistrophe.settings import Settings

ORDERS = ("cancel", "retry", "resolve")


@dataclass(frozen=True, slots=True)
class Order:
    """What is ordered, by whom, and why. ``step``: whose undo was settled, of a resolve."""

    kind: str
    by: str
    note: str | None = None
    step: str | None = None

    def asked(self) -> CancelAsked | RetryAsked | ResolveStep:
        """The order as a saga hears it. Raises RequestError for one that makes no sense."""
        match self.kind:
            case "cancel":
                return CancelAsked(self.note, self.by)
            case "retry":
                return RetryAsked(self.by, self.note)
            case "resolve" if self.step and self.note:
                return ResolveStep(self.step, self.note, self.by)
            case "resolve":
                raise RequestError(
                    "a resolve needs the name of the step, and a note that says how its undo was settled"
                )
            case _:
                raise RequestError(f"there is no order {self.kind!r}: there are {', '.join(ORDERS)}")


@contextmanager
def _attached(home: Path) -> Iterator[tuple[Requests, str]]:
    """The system that runs. Raises SystemUnavailableError where none does: none is started for an order."""
    attachment = Attachment(home, Settings(), starts=False)
    with as_tool():
        requests = Requests(attachment, introduction=Introduction(attachment.client_id))
    try:
        attachment.open()
        requests.introduce()
        yield requests, attachment.client_id
    finally:
        attachment.close()
        requests.close()


def give(home: Path, saga_id: str, order: Order) -> bool:
    """Give a saga an order, and return whether it had an effect. Raises RequestError where it makes no sense now,
    SagaNotFoundError, and SystemUnavailableError."""
    asked = order.asked()
    with _attached(home) as (requests, client_id):
        return requests.ask(lambda correlation: OrderSaga(correlation, saga_id, asked, client_id), Done).effect


def give_all(home: Path, saga_ids: Iterable[str], order: Order) -> list[tuple[str, str]]:
    """Give many sagas an order, one after the other. Returns what became of each, in words: one that refuses it keeps
    no other from it. Raises as ``give`` does where none can be given any."""
    asked = order.asked()
    said: list[tuple[str, str]] = []
    with _attached(home) as (requests, client_id):
        for saga_id in saga_ids:
            try:
                done = requests.ask(
                    lambda correlation, of=saga_id: OrderSaga(correlation, of, asked, client_id),  # type: ignore[misc]
                    Done,
                )
            except AntistropheError as error:
                said.append((saga_id, f"refused: {error}"))
            else:
                said.append((saga_id, "ordered" if done.effect else "no effect: it has ended, or turned back already"))
    return said
