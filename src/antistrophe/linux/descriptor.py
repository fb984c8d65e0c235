"""Descriptors of this process that must be told from others of the same number: user code may have closed them.

User code may have replaced functions of `os`, too, so the one that is used after a call is bound here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from os import fstat
from typing import TypeAlias

OpenFile: TypeAlias = tuple[int, int]
"""The file, socket or pipe behind a descriptor: its inode and device. All epoll sets and eventfds have the same."""


def file_behind(fileno: int) -> OpenFile | None:
    """What is open under this number now; None where nothing is."""
    there = file_and_size(fileno)
    return None if there is None else there[0]


def file_and_size(fileno: int) -> tuple[OpenFile, int] | None:
    """What is open under this number now, and its size in bytes; None where nothing is."""
    try:
        stat = fstat(fileno)
    except OSError:
        return None
    return stat[1:3], stat.st_size


def files_behind(filenos: Iterable[int]) -> dict[int, OpenFile | None]:
    """What is open under each of these numbers now."""
    return {fileno: file_behind(fileno) for fileno in filenos}


def changed(before: Mapping[int, OpenFile | None]) -> list[int]:
    """The numbers under which something else is open than ``before``, or nothing."""
    try:
        now = [fstat(fileno)[1:3] for fileno in before]
    except OSError:  # nothing is open under one of them
        return [fileno for fileno, file in before.items() if file_behind(fileno) != file]
    if now == [*before.values()]:
        return []
    return [fileno for fileno, there in zip(before, now, strict=True) if there != before[fileno]]


def is_open(fileno: int, file: OpenFile | None) -> bool:
    """Whether this file is open under this number now; never, where it is None."""
    try:
        return fstat(fileno)[1:3] == file
    except OSError:
        return False


def give_up_files(path: str) -> None:
    """Close this process's descriptors of every file whose path begins with ``path``. The numbers then stand for
    /dev/null: code inherited from a parent may still close them, and must not close a file that is opened later."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for name in os.listdir("/proc/self/fd"):
            if _target(name).startswith(path):
                os.dup2(nothing, int(name), inheritable=False)
    finally:
        os.close(nothing)


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - each fork does it for each descriptor
    except OSError:  # the descriptor of the listing itself
        return ""
