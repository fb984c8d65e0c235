"""The address of an actor: the path of the socket on which it listens."""

from __future__ import annotations

from thespian.actors import ActorAddress


class UnixAddress:
    """The details inside an ActorAddress of ours. A path is used only once, so an address never means another actor."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __eq__(self, other: object) -> bool:
        return type(other) is UnixAddress and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __str__(self) -> str:
        return self.path.rpartition("/")[2]


def address_of(path: str) -> ActorAddress:
    """The ActorAddress of the actor that listens on ``path``."""
    return ActorAddress(UnixAddress(path))


def path_of(address: ActorAddress) -> str | None:
    """The path on which the actor listens; None for a child that has not reported yet."""
    details = address.addressDetails
    return details.path if isinstance(details, UnixAddress) else None
