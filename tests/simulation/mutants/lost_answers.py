"""The planted bugs of a journal on a server, where answers are lost."""

from __future__ import annotations

from tests.simulation.mutants.planting import Mutant, Patch
from tests.simulation.properties import Check

_EXECUTION = "antistrophe.actors.saga.execution:Execution."
_APPENDS = "antistrophe.journal.postgres_append:PostgresAppends."
_STATEMENT = "antistrophe.journal.postgres_statement:"

LOST_ANSWERS: tuple[Mutant, ...] = (
    Mutant(
        "an append of which nobody knows counts as written",
        "G1 G2",
        Check.ONE_END,
        (
            Patch(
                _APPENDS + "write",
                "if time.monotonic() > until or not left:\n                raise\n        except JournalBusyError",
                "if time.monotonic() > until or not left:\n                return 1\n        except JournalBusyError",
            ),
        ),
    ),
    Mutant(
        "an append of which nobody knows counts as not written",
        "G1 G2",
        Check.ERROR,
        (Patch(_EXECUTION + "_go_on", "self._read(before.id)", "pass"),),
    ),
    Mutant(
        "what stands in its place is taken for the append without a look",
        "G1 G2",
        Check.BOUND,
        (Patch(_APPENDS + "_own_position", "return None\n        last = max", "pass\n        last = max"),),
    ),
    Mutant(
        "what is read counts before a commit has confirmed it",
        "G1 G2",
        Check.POSITION,
        (Patch(_EXECUTION + "_take", "self._confirm()", "pass"),),
    ),
    Mutant(
        "an order is told to have changed nothing before what was read is confirmed",
        "G1 G2",
        Check.POSITION,
        (Patch(_EXECUTION + "unconfirmed", "self._confirm()", "pass"),),
    ),
    Mutant(
        "an append is made where the saga has as many entries as the one who decided on it knew",
        "G1 G2",
        Check.CAUSE,
        (
            Patch(_STATEMENT + "Append.values", "self.last,", "None,"),
            Patch(_STATEMENT + "_of_sagas", "None if each.name in made else each.last,", "None,"),
        ),
    ),
)
