"""Reads a TOML profile of settings: ``name = value`` lines without tables."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from antistrophe.errors import InvalidSettingsError


def read_profile(path: Path, names: Collection[str]) -> dict[str, Any]:
    """What the file says, by the names of settings. Raises InvalidSettingsError, which names the file and every unknown
    key, where it is missing, is not TOML, or has a key that is not among ``names``."""
    profile = _read(path)
    unknown = [_unknown(name, value, names) for name, value in profile.items() if name not in names]
    if unknown:
        raise InvalidSettingsError(f"{path}: {'; '.join(unknown)}")
    return dict(profile)


def _read(path: Path) -> Mapping[str, Any]:
    import tomllib  # most programs read no profile

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidSettingsError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidSettingsError(f"{path}: is not UTF-8, and TOML must be: {error}") from error
    except (ValueError, RecursionError) as error:  # too long a number, or too deep a nesting, is no TOMLDecodeError
        raise InvalidSettingsError(f"{path}: is not TOML: {error}") from error


def _unknown(name: str, value: object, names: Collection[str]) -> str:
    if isinstance(value, Mapping):
        return f"table {reprlib.repr(name)}: a profile has no tables, only lines `name = value`"
    import difflib

    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(names)}"
    return f"there is no setting {reprlib.repr(name)}: {hint}"
