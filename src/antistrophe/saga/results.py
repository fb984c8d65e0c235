"""What a step has returned, as the journal's entries say."""

from __future__ import annotations

from antistrophe.saga.entries import Action, AttemptSucceeded, Entry, Verdict, VerdictGiven


def result_in(entry: Entry | None) -> AttemptSucceeded | VerdictGiven | None:
    """The entry itself where it holds the result of an ``execute``, its output and its events; else None."""
    match entry:
        case AttemptSucceeded(action=Action.EXECUTE) | VerdictGiven(verdict=Verdict.APPLIED):
            return entry
        case _:
            return None
