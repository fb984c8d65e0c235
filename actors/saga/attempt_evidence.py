"""The files that the step processes of a home left behind of their attempts, as a saga actor reads them."""

from __future__ import annotations

from antistrophe.actors.step.attempt_file import AttemptId, AttemptRecord, read_attempt_file, remove_attempt_files
from antistrophe.actors.step.stack_dumps import read_stack, why_no_stack
from antistrophe.linux.process import boot_id
from antistrophe.messages import ProcessDead
from antistrophe.saga.entries import Lease


class AttemptEvidence:
    """The shipped ``EvidencePort``: attempt files and stack files in the folder of a home."""

    def __init__(self, home: str) -> None:
        self._home = home

    def boot_id(self) -> str:
        """See ``EvidencePort``."""
        return boot_id()

    def read(self, lease: Lease, attempt_id: AttemptId) -> AttemptRecord:
        """See ``EvidencePort``."""
        return read_attempt_file(self._home, lease.name, attempt_id, lease.attempt_file)

    def stack(self, lease_name: str) -> str | None:
        """See ``EvidencePort``."""
        return read_stack(self._home, lease_name)

    def why_no_stack(self, dead: ProcessDead) -> str | None:
        """See ``EvidencePort``."""
        return why_no_stack(self._home, dead)

    def remove(self, lease_name: str) -> None:
        """See ``EvidencePort``."""
        remove_attempt_files(self._home, lease_name)
