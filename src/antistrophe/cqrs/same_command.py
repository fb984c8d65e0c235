"""Claims the key of a command, also where its class has gone on since the key was used for it.

A key's row has the fingerprint of its command, and the packed command. The fingerprint answers nearly always. A field
that was added to the class since changes it: then what was stored is read as a command, so that the field takes its
default, and is compared as values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from antistrophe.cqrs.idempotency import (
    Answer,
    Claim,
    Held,
    KeyedCommand,
    drop_token,
    fingerprint_of,
    new_token,
)
from antistrophe.definition.same_values import same_fields
from antistrophe.errors import IdempotencyConflictError
from antistrophe.fast_dataclass import dataclass
from antistrophe.serialization.payload import pack_payload, unpack_payload

KEPT_BYTES = 1_048_576
"""A packed command over this size is not kept with its key: only its fingerprint is."""


@dataclass(frozen=True, slots=True)
class Used:
    """The command that a key was used for, as the key's row has it. ``fields``: None for one that was too large, or was
    stored by a version that kept the fingerprint only."""

    command_type: str
    fingerprint: bytes
    fields: bytes | None


def claimed(
    attempt: Callable[[KeyedCommand, str], Claim | Answer | Held | Used], command: KeyedCommand
) -> Claim | Answer | Held:
    """Claim the key of a command: ``attempt`` does it once, for a token, or finds what the key was used for."""
    token = new_token()  # this process must know the token before another thread can see the row
    try:
        taken = attempt(command, token)
        while isinstance(taken, Used):
            command = in_words_of(command, taken)
            taken = attempt(command, token)
    except BaseException:
        drop_token(token)
        raise
    if not isinstance(taken, Claim):
        drop_token(token)
    return taken


def kept_fields(command: KeyedCommand) -> bytes | None:
    """The packed command, as the row of its key keeps it."""
    return command.fields if 0 < len(command.fields) <= KEPT_BYTES else None


def in_words_of(command: KeyedCommand, used: Used) -> KeyedCommand:
    """The command with the fingerprint that its key was used with, where both are the same command. Raises
    IdempotencyConflictError where they are not. The user's own code may run: don't hold a lock."""
    if used.command_type == command.command_type and command.cls is not None:
        fields = _without_last(command, used.fingerprint) if used.fields is None else used.fields
        if fields is not None and same_fields(command.cls, command.fields, fields):
            return replace(command, fingerprint=used.fingerprint, fields=fields)
    what = f"another {used.command_type}" if used.command_type == command.command_type else f"a {used.command_type}"
    raise IdempotencyConflictError(
        f"the idempotency key {command.key!r} was used for {what}, not for this {command.command_type}: a key"
        " belongs to one command with all its fields"
    )


def _without_last(command: KeyedCommand, fingerprint: bytes) -> bytes | None:
    """The fields that give the fingerprint, found by leaving out the last ones; None where none do."""
    fields = unpack_payload(command.fields)
    while fields:
        fields.popitem()
        packed = pack_payload(fields)
        if fingerprint_of(command.command_type, packed) == fingerprint:
            return packed
    return None
