"""The verbs, and how a call ends: with an exit code, and with one line that says what went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from antistrophe.cli import screen
from antistrophe.cli.exit_codes import DONE, INTERNAL, INTERRUPTED, SAGA_FAILED, WRONG_USE
from antistrophe.cli.invocation import everywhere
from antistrophe.errors import AntistropheError, SagaError
from antistrophe.exception_text import name_and_text
from antistrophe.narration import times

TRACEBACK = "ANTISTROPHE_TRACEBACK"

# The module of each verb. It is imported when the verb is called, so that no verb loads what another one needs.
VERBS = {
    "demo": "demo",
    "run": "run",
    "verify": "verify",
    "serve": "serve",
    "status": "read",
    "list": "read",
    "show": "read",
    "watch": "watch",
    "logs": "logs",
    "cancel": "operator_commands",
    "retry": "operator_commands",
    "resolve": "operator_commands",
    "relocate": "operator_commands",
    "reload": "operator_commands",
    "explain": "read",
    "export": "storage_commands",
    "purge": "storage_commands",
    "erase": "storage_commands",
    "compact": "storage_commands",
    "copy": "copy",
    "dashboard": "dashboard",
    "hosts": "hosts",
    "drain": "hosts",
    "doctor": "doctor",
}


class Verbs(click.Group):
    """The verbs, in the order of the documentation. Each is loaded when it is called."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            with screen.to_reader():
                sys.stdout.flush()
            return code
        except (BrokenPipeError, screen.ReaderLeftError):  # `| head`; click would call that a failure
            _write_no_more()
            return DONE
        except screen.OutputLostError as error:
            _write_no_more()
            return _say(str(error), WRONG_USE)

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, _context: click.Context, verb: str) -> click.Command | None:
        module = VERBS.get(verb)
        if module is None:
            return None
        found = getattr(import_module(f"antistrophe.cli.{module}"), f"{verb}_verb")
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"there is no verb {args[0]!r}; there are {', '.join(VERBS)}", ctx) from error


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@everywhere
@click.version_option(package_name="antistrophe", message="%(prog)s %(version)s")
def antistrophe() -> None:
    """Sagas on supervised processes: steps forward, compensations backward, and proof of both.

    Exit code: 0 done, 1 a saga failed, 2 wrong use.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one call and return its exit code. Every error is one line on standard error."""
    times.tell_in(None)
    screen.open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that the terminal can't show must not end the call
            stream.reconfigure(errors="backslashreplace")
    try:
        code = antistrophe.main(arguments, prog_name="antistrophe", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SagaError as error:
        return _say(str(error), SAGA_FAILED)
    except AntistropheError as error:
        return _say(str(error), WRONG_USE)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        return _say(f"this is a bug in antistrophe: {name_and_text(error)} ({TRACEBACK}=1 shows where)", INTERNAL)
    return code if isinstance(code, int) else DONE


def _say(text: str, code: int) -> int:
    line = screen.safe("antistrophe: ", style="bold red").append_text(screen.safe_line(text, style="default not bold"))
    screen.errors().print(line, soft_wrap=True)
    return code


def _write_no_more() -> None:
    # The rest of the buffer would raise again when the interpreter ends.
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the end
