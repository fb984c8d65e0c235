"""How much of the finished sagas the hosts of one journal keep: each says so for itself, and the mildest counts.

What one host purges is gone for all. So a host purges only what every live host would purge, and one that sets no limit
keeps everything, for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from antistrophe.fast_dataclass import dataclass
from antistrophe.settings import Settings

_Limit = TypeVar("_Limit", int, float)


@dataclass(frozen=True, slots=True)
class Retained:
    """What one host keeps: the settings ``retain_finished_s`` and ``retain_finished``. None: no limit."""

    finished_s: float | None = None
    finished: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Retained:
        """What the host with these settings keeps."""
        return cls(settings.retain_finished_s, settings.retain_finished)


ALL: Final = Retained()
"""All finished sagas are kept, for ever."""


def mildest(all_hosts: Iterable[Retained]) -> Retained:
    """What is kept by all of them together."""
    known = list(all_hosts)
    return Retained(_largest([each.finished_s for each in known]), _largest([each.finished for each in known]))


def _largest(limits: list[_Limit | None]) -> _Limit | None:
    given = [each for each in limits if each is not None]
    return max(given) if given and len(given) == len(limits) else None
