"""How long the chaos tests are."""

from __future__ import annotations

import os

_GIVEN = os.environ.get("ANTISTROPHE_CHAOS_ROUNDS")

ROUNDS = int(_GIVEN or 1)
LONG = _GIVEN is not None
"""Whether there is time for cases that differ little from others, and for more sagas at once."""
SAGAS = 10 if LONG else 5
