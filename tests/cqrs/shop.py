"""Commands and events of a small shop, for the tests of the command bus."""

from __future__ import annotations

from dataclasses import dataclass

from antistrophe.definition.events import event


@dataclass(frozen=True)
class CreateUser:
    name: str
    age: int = 30


@dataclass(frozen=True)
class RenameUser:
    name: str
    age: int = 30


@event("shop.user_created")
@dataclass(frozen=True)
class UserCreated:
    name: str


@event("shop.user_greeted")
@dataclass(frozen=True)
class UserGreeted:
    name: str
    times: int = 1
