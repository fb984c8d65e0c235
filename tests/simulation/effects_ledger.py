"""The effects ledger: what the calls of a simulated world have really done, written by themselves, not by the saga."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    VerdictGiven,
)
from antistrophe.saga.inputs import Answer


@dataclass(frozen=True, slots=True)
class Token:
    """One attempt, unmistakably within its saga."""

    step: int
    action: Action
    attempt: int

    def __str__(self) -> str:
        return f"{self.action.value} of step {self.step}, attempt {self.attempt}"


def token_of(
    about: AttemptStarted | AttemptSucceeded | AttemptExpired | AttemptFailed | VerdictGiven,
) -> Token:
    """Which attempt an entry is about."""
    action = Action.VERIFY if isinstance(about, VerdictGiven) else about.action
    return Token(about.step, action, about.attempt)


@dataclass(slots=True)
class Call:
    """One call of user code: when it began and ended (returned, raised, or its process died), when it took effect, and
    what it gave (None: its process died first). ``journal_length``: how many entries there were when it began;
    ``process_used``: something had run in its process before; ``turn``: the step class that its lease counts for,
    and nothing had run there since; ``interrupted``: the system ended it;
    ``shared``: it ran in a slot beside others; ``held``: the saga held the lease of its process when it began;
    ``told_to_end_at``: when its process was told to end."""

    token: Token
    process: str
    process_used: bool
    began_at: float
    journal_length: int
    ended_at: float | None = None
    effects_at: list[float] = field(default_factory=list)
    answer: Answer | None = None
    interrupted: bool = False
    turn: str | None = None
    shared: bool = False
    held: bool = True
    told_to_end_at: float | None = None


class EffectsLedger:
    """Every call that was made, in order of their beginnings."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def of(self, step: int, action: Action) -> Iterator[Call]:
        """The calls of one action of one step."""
        return (call for call in self.calls if call.token.step == step and call.token.action is action)

    def made(self, token: Token) -> list[Call]:
        """The calls of one attempt: at most one, where all is well."""
        return [call for call in self.calls if call.token == token]

    def last_effect(self, step: int, action: Action) -> float | None:
        """When the last effect of that kind came, or None."""
        return max((at for call in self.of(step, action) for at in call.effects_at), default=None)
