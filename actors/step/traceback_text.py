"""The traceback of an exception in words, whatever its class does."""

from __future__ import annotations

import linecache
from types import TracebackType

from antistrophe.exception_text import class_name_of, clean, own_text

MAX_TRACEBACK_BYTES = 8_192
"""The bytes that are kept of a traceback."""

_RUNTIME = (
    "antistrophe.definition.",
    *(f"antistrophe.actors.step.{module}" for module in ("call", "step", "async_step", "event_loop")),
    "antistrophe.testing.inline",
    "antistrophe.testing.verification.injections",
)
"""The modules, or how their names begin, between the runtime and the step."""

_LOOPS = ("asyncio.", "concurrent.futures.")

_FRAMES_KEPT_OF_EACH_END = 12
_MOST_CHAINED = 5
_MOST_MEMBERS = 10
_DEEPEST_GROUP = 3
_LONGEST_LINE = 200
_LONGEST_TEXT = 1_000
_CUT = "\n  ... (cut)\n"

_CAUSED = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"


def traceback_of(error: BaseException) -> str | None:
    """The traceback as Python writes it, the step's own frames first and the raised exception last. The frames of the
    runtime are left out, and so is what is over MAX_TRACEBACK_BYTES. None where no frame is the step's.

    The values of variables are not in it. Causes, and the members of a group, are.
    """
    try:
        text = clean(_Telling().told(error, 0))
    except Exception as broken:  # what a user's class does when it is asked, or no memory
        return f"(the traceback can't be told: {type(broken).__name__})"
    return _fitted(text) if '  File "' in text else None


class _Telling:
    """One traceback in the making. ``_room`` bounds the work where exceptions have very many causes and members."""

    def __init__(self) -> None:
        self._room = 2 * MAX_TRACEBACK_BYTES
        self._seen: set[int] = set()

    def told(self, error: BaseException, depth: int) -> str:
        """The exception with those before it, which Python writes first."""
        parts = [self._block(error, depth)]
        before, how = _before(error)
        while before is not None and id(before) not in self._seen:
            if len(parts) > 2 * _MOST_CHAINED or self._room <= 0:
                parts.append("(what was raised before is left out)")
                break
            parts += [how, self._block(before, depth)]
            before, how = _before(before)
        return "\n\n".join(reversed(parts))

    def _block(self, error: BaseException, depth: int) -> str:
        self._seen.add(id(error))
        text = own_text(error)[:_LONGEST_TEXT].replace("\n", "\n    ")
        lines = _frame_lines(error.__traceback__)
        head = ["Traceback (most recent call last):"] if lines else []
        lines = [*head, *lines, class_name_of(error) + (f": {text}" if text else ""), *_notes(error)]
        self._room -= sum(map(len, lines))
        if isinstance(error, BaseExceptionGroup):
            lines += self._members(error, depth + 1)
        return "\n".join(lines)

    def _members(self, group: BaseExceptionGroup[BaseException], depth: int) -> list[str]:
        lines, count = [], len(group.exceptions)
        for number, member in enumerate(group.exceptions, start=1):
            if depth > _DEEPEST_GROUP or number > _MOST_MEMBERS or self._room <= 0:
                lines.append(f"  (and {count - number + 1} more)")
                break
            lines.append(f"  Member {number} of {count}:")
            lines += [f"    {line}" for line in self.told(member, depth).split("\n")]
        return lines


def _before(error: BaseException) -> tuple[BaseException | None, str]:
    """The exception that this one was raised from, or while it was handled, and how a traceback says so."""
    if error.__cause__ is not None:
        return error.__cause__, _CAUSED
    return (None if error.__suppress_context__ else error.__context__), _MEANWHILE


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", None)
    texts = [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
    return ["\n".join(texts)[:_LONGEST_TEXT]] if texts else []


def _frame_lines(raised: TracebackType | None) -> list[str]:
    """The lines of the frames, but for those that lead from the runtime to the step."""
    places = []
    while raised is not None:
        places.append(raised)
        raised = raised.tb_next
    places = places[_end_of_runtime(places) :]
    places = [place for place in places if not _module(place).startswith(_RUNTIME)]
    lines = [_frame_line(place) for place in places[:_FRAMES_KEPT_OF_EACH_END]]
    more = places[_FRAMES_KEPT_OF_EACH_END:]
    if len(more) > _FRAMES_KEPT_OF_EACH_END:
        lines.append(f"  ... ({len(more) - _FRAMES_KEPT_OF_EACH_END} frames left out)")
    return lines + [_frame_line(place) for place in more[-_FRAMES_KEPT_OF_EACH_END:]]


def _end_of_runtime(places: list[TracebackType]) -> int:
    """Where the frames of the runtime end. Those of an event loop, or of a pool, that it uses lie among them."""
    end = 0
    for index, place in enumerate(places):
        if _module(place).startswith(_RUNTIME):
            end = index + 1
        elif not _module(place).startswith(_LOOPS):
            break
    return end


def _module(place: TracebackType) -> str:
    return str(place.tb_frame.f_globals.get("__name__", ""))


def _frame_line(place: TracebackType) -> str:
    code = place.tb_frame.f_code
    linecache.checkcache(code.co_filename)
    source = linecache.getline(code.co_filename, place.tb_lineno or 0, place.tb_frame.f_globals).strip()
    line = f'  File "{code.co_filename}", line {place.tb_lineno}, in {code.co_name}'
    return f"{line}\n    {source[:_LONGEST_LINE]}" if source else line


def _fitted(text: str) -> str:
    """The text within MAX_TRACEBACK_BYTES: the end is what was raised, so the middle is cut out."""
    data = text.encode()
    if len(data) <= MAX_TRACEBACK_BYTES:
        return text
    half = (MAX_TRACEBACK_BYTES - len(_CUT)) // 2
    return data[:half].decode(errors="ignore") + _CUT + data[-half:].decode(errors="ignore")
