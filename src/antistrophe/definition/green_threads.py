"""Whether a library of green threads has taken the place of parts of the standard library in this process.

``gevent.monkey.patch_all()`` and ``eventlet.monkey_patch()`` replace threads, sockets and waits by their own, which run
only while one of their own loops does. What antistrophe waits for would never come.
"""

from __future__ import annotations

import importlib

_LIBRARIES = ("gevent", "eventlet")
_NEEDED = {
    "socket": ("socket",),
    "select": ("poll", "select"),
    "threading": ("_start_new_thread", "Lock"),
    "_thread": ("start_new_thread", "allocate_lock"),
    "subprocess": ("Popen",),
    "queue": ("SimpleQueue", "Queue"),
}
"""What antistrophe needs as it is. What else may be replaced, as ``time.sleep`` and ``ssl``, does no harm."""


def green_parts() -> str | None:
    """Who has replaced which parts of the standard library here, in words; None where all that is needed is there."""
    found: dict[str, list[str]] = {}
    for module_name, names in _NEEDED.items():
        module = importlib.import_module(module_name)
        owners = {str(getattr(getattr(module, name, None), "__module__", "")).partition(".")[0] for name in names}
        for library in owners.intersection(_LIBRARIES):
            found.setdefault(library, []).append(module_name)
    return "; ".join(f"{library} has replaced {', '.join(parts)}" for library, parts in found.items()) or None
