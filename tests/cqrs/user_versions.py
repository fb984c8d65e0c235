"""One event type in three versions, and the chain between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from antistrophe.definition.events import encode_event, event
from antistrophe.eventstore.auto_upcaster import AutoUpcaster
from antistrophe.eventstore.versions import VersionRegistry
from antistrophe.serialization.payload import unpack_payload


@event("versions.user")
@dataclass(frozen=True)
class UserV1:
    name: str


@event("versions.user", version=2)
@dataclass(frozen=True)
class UserV2:
    name: str
    email: str = "unknown@example.org"
    tags: list[str] = field(default_factory=list)


@event("versions.user", version=3)
@dataclass(frozen=True)
class UserV3:
    first: str
    last: str
    email: str

    @classmethod
    def from_previous(cls, previous: UserV2) -> UserV3:
        first, _, last = previous.name.partition(" ")
        return cls(first, last, previous.email)


def fields_of(obj: object) -> dict[str, Any]:
    fields: dict[str, Any] = unpack_payload(encode_event(obj).data)
    return fields


def full_chain() -> VersionRegistry:
    versions = VersionRegistry()
    versions.register_upcaster(AutoUpcaster(UserV1, UserV2))
    versions.register_upcaster(AutoUpcaster(UserV2, UserV3))
    return versions
