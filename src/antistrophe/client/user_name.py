"""Who gives the orders of this process."""

from __future__ import annotations

import os
import pwd


def user_name() -> str:
    """The name under which this process's orders are journaled."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
