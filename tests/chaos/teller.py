"""A client of the bank under fire, run as a program: makes transfers for a while, whatever happens to the system."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import random
import sys
import time
from pathlib import Path

from antistrophe import JournalError, SagaDefinition, SagaError, SagaOrchestrator, Settings, SystemUnavailableError
from docs.examples.transfers.saga import Credit, Debit, account_name

ACCOUNTS = 8
OPENING_BALANCE = 1_000
SETTINGS = Settings(drain_s=0.3, max_step_processes=4, max_restarts=1000, restart_window_s=0.1, start_timeout_s=5.0)


def transfer_of(saga_id: str, bank: str, draw: random.Random) -> SagaDefinition:
    """A transfer between two accounts; some ask for more than there is."""
    payer, payee = draw.sample(range(1, ACCOUNTS + 1), 2)
    amount = draw.randint(1, OPENING_BALANCE // 2)
    saga = SagaDefinition(saga_id, name="transfer").add_step(Debit(bank, account_name(payer), amount))
    return saga.add_step(Credit(bank, account_name(payee), amount))


def serve(orchestrator: SagaOrchestrator, saga: SagaDefinition, until: float, patience_s: float) -> bool:
    """Have one transfer started, say so once it is acknowledged, and wait for its end. False: it was refused."""
    try:
        handle = orchestrator.start(saga, if_live="join")
    except JournalError as error:  # a full disk; it may be asked for again
        os.write(2, f"{saga.id}: JournalError: {error}\n".encode())
        return False
    os.write(1, f"{saga.id}\n".encode())
    with contextlib.suppress(SagaError, TimeoutError):
        handle.result(min(patience_s, max(0.1, until - time.monotonic())))
    return True


def main() -> None:
    """Called with the folder, the seed, the client's number, for how many seconds it works, and for how many it waits
    for the end of one transfer."""
    folder, seed, number, seconds, patience_s = Path(sys.argv[1]), sys.argv[2], sys.argv[3], *map(float, sys.argv[4:6])
    draw = random.Random(f"{seed}/{number}")
    until = math.inf
    ids = (f"client-{number}-{transfer}" for transfer in itertools.count(1))
    transfers = (transfer_of(saga_id, str(folder / "bank.db"), draw) for saga_id in ids)
    saga = next(transfers)
    while time.monotonic() < until:
        try:
            with SagaOrchestrator(folder / "home", settings=SETTINGS) as orchestrator:
                until = min(until, time.monotonic() + seconds)  # from when it is up, however long that took
                while time.monotonic() < until:
                    if serve(orchestrator, saga, until, patience_s):
                        saga = next(transfers)
        except (SystemUnavailableError, JournalError) as error:  # what was not acknowledged is asked for again
            os.write(2, f"{saga.id}: {error}\n".encode())


if __name__ == "__main__":
    main()
