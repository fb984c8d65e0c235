"""Why sagas wait, as kinds that can be counted. The texts that people read are those of ``view`` and of admission."""

from __future__ import annotations

import re
from enum import Enum


class WaitReason(str, Enum):
    """What a saga waits for."""

    TURN = "turn"  # to be admitted: others are before it
    PROCESS = "process"  # a free step process
    LIMITS = "limits"  # a step process, within the limits of the step's class
    RETRY = "retry"  # the time of its next attempt
    ENDING = "ending"  # the end of a process that is being killed
    HOST = "host"  # a host with the labels that its next step runs on
    CODE = "code"  # its code or input to fit again, or the home to be writable


_KINDS = (
    (re.compile(r"its turn: "), WaitReason.TURN),
    (re.compile(r"a host with "), WaitReason.HOST),
    (re.compile(r"the next attempt to "), WaitReason.RETRY),
    (re.compile(r"process \d+, which runs the attempt to "), WaitReason.ENDING),
    (re.compile(r"a step process to .* in \(of its class, |a step process to .* in; "), WaitReason.LIMITS),
    (re.compile(r"a step process to "), WaitReason.PROCESS),
)


def reason_in(waiting: str) -> WaitReason:
    """The kind of a reason to wait. What is of no other kind has been said by a step process or its start."""
    return next((kind for pattern, kind in _KINDS if pattern.match(waiting)), WaitReason.CODE)
