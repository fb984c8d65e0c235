"""How long the chaos tests are."""

from __future__ import annotations

import os

_GIVEN = os.environ.get("ANTISTROPHE_CHAOS_ROUNDS")

ROUNDS = int(_GIVEN or 1)
LONG = _GIVEN is not None
"""Whether there is time for cases that differ little from others, and for more sagas at once."""
LIMIT_S = 850 if LONG else 240
"""Of a test that kills at point after point, with a system started anew at most of them. Past 900 s the run ends."""
SAGAS = 10 if LONG else 5
