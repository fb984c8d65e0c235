"""Idempotency keys in memory: for a bus without a store, or with one whose events are in memory too."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from antistrophe.cqrs.idempotency import (
    Answer,
    Batch,
    Claim,
    Held,
    Request,
    check_command,
    new_token,
)
from antistrophe.errors import CqrsError
from antistrophe.eventstore.store import EventStore


@dataclass(slots=True)
class _Key:
    request: Request
    token: str
    pid: int
    changed_at: float
    events: list[Any] | None = None


class _Keys:
    """All keys of one place, oldest change first."""

    def __init__(self) -> None:
        self.by_name: dict[str, _Key] = {}
        self.changed = threading.Condition()


_keys_of_stores: weakref.WeakKeyDictionary[EventStore, _Keys] = weakref.WeakKeyDictionary()
_keys_of_stores_lock = threading.Lock()


class MemoryClaims:
    """The memory variant of ``Claims``; all buses of one store share their keys, a bus without a store has its own."""

    def __init__(self, store: EventStore | None, expire_s: float) -> None:
        self._store = store
        self._expire_s = expire_s
        if store is None:
            self._keys = _Keys()
        else:
            with _keys_of_stores_lock:
                self._keys = _keys_of_stores.setdefault(store, _Keys())

    @property
    def place(self) -> Hashable:
        """See ``Claims``."""
        return id(self._keys)

    def take(self, request: Request) -> Claim | Answer | Held:
        """See ``Claims``."""
        with self._keys.changed:
            self._purge()
            key = self._keys.by_name.get(request.key)
            if key is not None:
                check_command(request, key.request.command_type, key.request.fingerprint)
                if key.events is not None:
                    return Answer(list(key.events))
                if key.pid == os.getpid():  # else this is a fork, where the thread that held it is not
                    return Held(key.token, key.pid)
            claim = Claim(request, new_token())
            self._put(_Key(request, claim.token, os.getpid(), time.monotonic()))
            return claim

    def settle(self, claim: Claim, batches: Sequence[Batch], events: Sequence[Any]) -> None:
        """See ``Claims``."""
        if batches and self._store is not None:
            with self._store.transaction() as transaction:
                self._check_held(claim)
                for batch in batches:
                    transaction.append_encoded(batch.stream, batch.events, batch.expected_version)
        with self._keys.changed:
            self._check_held(claim)
            self._put(_Key(claim.request, claim.token, os.getpid(), time.monotonic(), list(events)))
            self._keys.changed.notify_all()

    def release(self, claim: Claim) -> None:
        """See ``Claims``."""
        with self._keys.changed:
            key = self._keys.by_name.get(claim.request.key)
            if key is not None and key.token == claim.token and key.events is None:
                del self._keys.by_name[claim.request.key]
            self._keys.changed.notify_all()

    def await_change(self, request: Request, held: Held, timeout_s: float) -> None:
        """See ``Claims``."""

        def changed() -> bool:
            key = self._keys.by_name.get(request.key)
            return key is None or key.token != held.token or key.events is not None

        with self._keys.changed:
            self._keys.changed.wait_for(changed, timeout_s)

    def _check_held(self, claim: Claim) -> None:
        key = self._keys.by_name.get(claim.request.key)
        if key is None or key.token != claim.token or key.events is not None:
            raise CqrsError(f"the key {claim.request.key!r} is not held any more")

    def _put(self, key: _Key) -> None:
        # Removed first, so that it stands at the end.
        self._keys.by_name.pop(key.request.key, None)
        self._keys.by_name[key.request.key] = key

    def _purge(self) -> None:
        """Forget answers that are too old. Claims stand among them, and are passed over."""
        oldest = time.monotonic() - self._expire_s
        expired = []
        for name, key in self._keys.by_name.items():
            if key.changed_at >= oldest:
                break
            if key.events is not None:
                expired.append(name)
        for name in expired:
            del self._keys.by_name[name]
