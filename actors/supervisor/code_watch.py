"""Finds out that the files of step modules have changed since step processes have loaded them."""

from __future__ import annotations

from antistrophe.definition.code_files import FileStamp, stamp_of

LOOK_S = 1.0
"""How soon the files of a client are looked at again."""


class CodeWatch:
    """The stamps of the files that the processes of each client have loaded. Modules that those import are not seen."""

    def __init__(self) -> None:
        self._loaded: dict[str, dict[str, FileStamp]] = {}
        self._look_at: dict[str, float] = {}

    def loaded(self, client_id: str, files: tuple[FileStamp, ...]) -> bool:
        """A process of that client has loaded these files. True where others have loaded other versions of them."""
        known = self._loaded.setdefault(client_id, {})
        other = any(known.get(stamp.path, stamp) != stamp for stamp in files)
        known.update({stamp.path: stamp for stamp in files})
        return other

    def changed(self, client_id: str, now: float) -> bool:
        """Whether a file of that client is not as it was loaded; looked at once in LOOK_S, and told once."""
        known = self._loaded.get(client_id)
        if known is None or now < self._look_at.get(client_id, 0.0):
            return False
        self._look_at[client_id] = now + LOOK_S
        if all(stamp_of(path) == stamp for path, stamp in known.items()):
            return False
        del self._loaded[client_id]
        return True

    def forget(self, client_id: str) -> None:
        """That client is gone."""
        self._loaded.pop(client_id, None)
        self._look_at.pop(client_id, None)
