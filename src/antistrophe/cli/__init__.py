"""The command line: `antistrophe VERB`, for people and, with `--json`, for programs.

How it works: `group` finds the module of a verb, imports it, and turns every error into one line and an exit code.
`invocation` holds the options that every verb takes. There are four kinds of verbs:

- Verbs that read, `status`, `list`, `show`, `explain` (all in `read`), `watch` and `doctor`, open the journal's file
  (`client.stored_home`). They work where no system runs, and they start none.
- Verbs that give orders, `cancel`, `retry`, `resolve`, `relocate` and `reload` (`operator_commands`), and verbs that
  run sagas, `run`, `serve`, `verify` and `demo`, open an orchestrator, as any application does.
- `hosts` and `drain` (`hosts`) ask and tell the hosts of a journal in PostgreSQL by its rows. They need no home.
- `run` and `verify` import the user's code (`target`) and read its input (`input_file`). `batch` runs the sagas.

The words of `explain` come from the wing `narration`. `screen` prints everything: text from anywhere passes through
``screen.safe``, so that it can't control the terminal.

Rules: an exit code has one meaning (`exit_codes`). With `--json`, standard output has JSON and nothing else. A verb
that only asks makes no file and no folder.

Start reading at `group`, then `read`.
"""

from antistrophe.cli.group import main

__all__ = ["main"]
