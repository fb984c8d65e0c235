"""The settings of an actor system: every limit and time that a user may choose.

Beside each field of ``Settings`` stands an ``Allowed``: what the setting means, and which values it takes. The checks,
the error texts, config/default.toml and docs/reference/settings.md all come from there.

Each file answers one question: ``settings`` which settings there are and what they are by default, ``allowed`` which
values a setting takes, ``profile`` how a TOML file of them is read, and ``journal_url`` what is told of a URL that may
hold a password: never that. Start reading in ``settings``.
"""

from __future__ import annotations

from antistrophe.settings.allowed import Allowed
from antistrophe.settings.settings import ORIGIN, Settings, SettingsWarning, cores

__all__ = ["ORIGIN", "Allowed", "Settings", "SettingsWarning", "cores"]
