"""The fair order: of those who wait, whose turn it is."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeAlias, TypeVar

Group = TypeVar("Group", bound=Hashable)
Name = TypeVar("Name", bound=Hashable)

Level: TypeAlias = tuple[bool, int]
"""Who goes first whatever the names are: the urgent, then the higher priority. The smaller level goes first."""

Rank: TypeAlias = tuple[Level, int, int, int, str]
"""The place of one that waits: its level, how many of its name are at work, the last turn of its name, its arrival,
and its id. The smaller rank goes first."""


def level_of(*, urgent: bool, priority: int) -> Level:
    """The level of those with that urgency and priority."""
    return not urgent, -priority


def is_urgent(level: Level) -> bool:
    """Whether that is a level of the urgent."""
    return not level[0]


class Ticket(NamedTuple, Generic[Group, Name]):
    """One that waits. ``most``: it can't go while that many of its name are at work (None: it can)."""

    id: str
    group: Group
    level: Level
    name: Name
    arrival: int
    most: int | None = None


_Line: TypeAlias = list[tuple[int, str, int | None]]
"""Those of one group, level and name: arrival, id and ``most``, in the order of arrival."""


class FairOrder(Generic[Group, Name]):
    """Those who wait, in groups: by level, then by turns of their names.

    Of the names of a level, the one with the fewest at work comes first; of equals the one whose turn was longest ago.
    A new name comes behind those that wait already for their next turn. Within a name, who came first goes first. So a
    name gets its share however many of another name wait.

    Where ``permitted`` is set, it says how many of a name may be at work beside the bounds that tickets have; call
    ``rank_again`` when it says another number.

    Only the first of each line is ranked. Entering, leaving, and the begin and the end of work cost the same for 10 and
    for 10,000 that wait, except for the shift of a list.
    """

    permitted: Callable[[Name], int] | None = None

    def __init__(self) -> None:
        self._lines: dict[Group, dict[tuple[Level, Name], _Line]] = {}
        self._ranked: dict[tuple[Group, Level, Name], Rank] = {}
        self._lines_of: dict[Name, dict[tuple[Group, Level, Name], None]] = {}
        self._levels: dict[Group, dict[Level, list[Rank]]] = {}
        self._at_work: Counter[Name] = Counter()
        self._turns: dict[Name, int] = {}
        self._turn = 0

    # --- who waits ---------------------------------------------------------------------------------------------

    def add(self, ticket: Ticket[Group, Name]) -> None:
        """This one waits now."""
        key = ticket.group, ticket.level, ticket.name
        self._turns.setdefault(ticket.name, self._turn)
        self._lines_of.setdefault(ticket.name, {})[key] = None
        line = self._lines.setdefault(ticket.group, {}).setdefault(key[1:], [])
        bisect.insort(line, (ticket.arrival, ticket.id, ticket.most), key=_arrival)
        self._rank(key)

    def remove(self, ticket: Ticket[Group, Name]) -> None:
        """This one waits no more."""
        key = ticket.group, ticket.level, ticket.name
        lines = self._lines[ticket.group]
        line = lines[key[1:]]
        del line[bisect.bisect_left(line, ticket.arrival, key=_arrival)]
        self._rank(key)
        if not line:
            del lines[key[1:]]
            if not lines:
                del self._lines[ticket.group]
            del self._lines_of[ticket.name][key]
            self._forget(ticket.name)

    def groups(self) -> Iterable[Group]:
        """The groups in which anyone waits."""
        return self._lines

    def first(self, group: Group, after: Level | None = None) -> Rank | None:
        """The rank of the first of that group, or of the first of those behind that level; None where nobody is."""
        levels = self._levels.get(group, _NOBODY)
        if len(levels) == 1 and after is None:
            return next(iter(levels.values()))[0]
        level = min((level for level in levels if after is None or level > after), default=None)
        return None if level is None else levels[level][0]

    def first_at(self, group: Group, level: Level) -> Rank | None:
        """The rank of the first of that group and level."""
        ranks = self._levels.get(group, {}).get(level)
        return ranks[0] if ranks else None

    def ids(self, group: Group) -> Iterator[str]:
        """All who wait in that group."""
        for line in self._lines.get(group, {}).values():
            yield from (each for _, each, _ in line)

    def waiting(self, name: Name, *, urgent: bool = False) -> int:
        """How many of that name wait, or how many of its urgent ones."""
        lines = self._lines_of.get(name, ())
        return sum(len(self._lines[group][level, name]) for group, level, _ in lines if is_urgent(level) >= urgent)

    # --- who is at work ----------------------------------------------------------------------------------------

    def at_work(self, name: Name) -> int:
        """How many of that name are at work."""
        return self._at_work[name]

    def begin(self, name: Name) -> None:
        """One of that name is at work: the name has had its turn."""
        self._turn += 1
        self._turns[name] = self._turn
        self._at_work[name] += 1
        self.rank_again(name)

    def end(self, name: Name) -> None:
        """One of that name is at work no more."""
        self._at_work[name] -= 1
        self.rank_again(name)
        self._forget(name)

    def rank_again(self, name: Name) -> None:
        """Another number of that name is at work, or may be."""
        for key in self._lines_of.get(name, ()):
            self._rank(key)

    def _forget(self, name: Name) -> None:
        """Keep nothing of a name of which nobody waits or is at work."""
        if not self._lines_of.get(name):
            self._lines_of.pop(name, None)
            if not self._at_work[name]:
                del self._at_work[name], self._turns[name]

    # --- ranks -------------------------------------------------------------------------------------------------

    def _rank(self, key: tuple[Group, Level, Name]) -> None:
        """Rank the first of that line as it is now."""
        group, level, name = key
        old, line, at_work = self._ranked.pop(key, None), self._lines[group][level, name], self._at_work[name]
        levels = self._levels.setdefault(group, {})
        ranks = levels.setdefault(level, [])
        if old is not None:
            del ranks[bisect.bisect_left(ranks, old)]
        if line and (line[0][2] is None or at_work < self._most(name, line[0][2])):
            arrival, first, _ = line[0]
            new = self._ranked[key] = (level, at_work, self._turns[name], arrival, first)
            bisect.insort(ranks, new)
        if not ranks:
            del levels[level]
            if not levels:
                del self._levels[group]

    def _most(self, name: Name, most: int) -> int:
        return most if self.permitted is None else min(most, self.permitted(name))


_NOBODY: dict[Level, list[Rank]] = {}


def _arrival(place: tuple[int, str, int | None]) -> int:
    return place[0]
