"""The command line: `antistrophe VERB`, for people and, with `--json`, for programs."""

from antistrophe.cli.group import main

__all__ = ["main"]
