"""Which values a setting takes, and how that is said."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from antistrophe.settings.journal_url import is_url, shown

_DAY_S = 86_400
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
MOST_NAMES = 64


class Form(Enum):
    """The form of a value that is neither a number nor one of a few words, and how it is described."""

    HOOK = 'a function as "module:function", or the words of a command as a list'
    URL = "a URL of PostgreSQL, as postgresql://HOST/DATABASE"
    NAME = "a name of up to 63 letters and digits, with dots, _ and - between them"
    NAMES = "a list of up to 64 names, each of up to 63 letters and digits, with dots, _ and - between them"

    def admits(self, value: object) -> bool:
        """Whether the value is of this form."""
        match self:
            case Form.HOOK:
                return _is_hook(value)
            case Form.URL:
                return is_url(value)
            case Form.NAME:
                return is_name(value)
            case Form.NAMES:
                return isinstance(value, tuple) and len(value) <= MOST_NAMES and all(map(is_name, value))


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a setting means (``says``), its ``unit``, and the values that it takes.

    The values are numbers from ``low`` to ``high``, whole ones where ``whole`` is True, or else one of ``words``, or
    those of a ``form``. An ``optional`` setting may be None.
    """

    says: str
    unit: str = ""
    low: float = 0
    high: float = 0
    whole: bool = False
    words: tuple[str, ...] = ()
    optional: bool = False
    form: Form | None = None

    def text(self) -> str:
        """The values in words: ``a whole number from 1 to 8``."""
        if self.form is not None:
            return self.form.value
        if self.words:
            return "one of " + ", ".join(f'"{word}"' for word in self.words)
        return f"{'a whole number' if self.whole else 'a number'} from {self.low:g} to {self.high:.10g}"

    def admits(self, value: object) -> bool:
        """Whether the setting takes this value."""
        if value is None:
            return self.optional
        if self.form is not None:
            return self.form.admits(value)
        if self.words:
            return value in self.words
        kinds = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        return self.low <= value <= self.high

    def shown(self, value: object) -> object:
        """The value as people may see it: a URL is shown without its password."""
        return shown(value) if self.form is Form.URL and isinstance(value, str) else value

    def given(self, value: object) -> str:
        """A value that was given, for an error text. Of what should be a URL nothing is repeated."""
        return "what was given" if self.form is Form.URL else short(value)


def setting(default: object, says: str, **rest: Any) -> Any:
    """A field of the settings."""
    return field(default=default, metadata={"allowed": Allowed(says, **rest)})


def count(default: int | None, says: str, *, low: int, high: int, unit: str = "") -> Any:
    """A field that takes a whole number."""
    return setting(default, says, unit=unit, low=low, high=high, whole=True, optional=default is None)


def seconds(default: float | None, says: str, *, low: float = 0, high: float = _DAY_S) -> Any:
    """A field that takes a time in seconds."""
    return setting(default, says, unit="seconds", low=low, high=high, optional=default is None)


def word(default: str, says: str, *words: str) -> Any:
    """A field that takes one of these words."""
    return setting(default, says, words=words)


def is_name(value: object) -> bool:
    """Whether the value can be the name of a host, or a label of one."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def short(value: object) -> str:
    """A value for an error text."""
    try:
        return reprlib.repr(value)
    except ValueError:  # the number has more digits than Python writes
        return f"a {type(value).__name__} that is too long to show"


def _is_hook(value: object) -> bool:
    if isinstance(value, str):
        module, _, name = value.partition(":")
        return all(part.isidentifier() for part in (*module.split("."), *name.split(".")))
    words = value if isinstance(value, tuple) else ()
    return bool(words and words[0]) and all(isinstance(word, str) and "\0" not in word for word in words)
