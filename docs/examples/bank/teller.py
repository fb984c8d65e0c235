"""The application: takes one transfer, and shows the balances after it."""

import sys
from pathlib import Path

from balances import Balances
from bank_events import versions
from transfer import Transfer, bus_of

from antistrophe import SagaError, SagaOrchestrator
from antistrophe.cqrs import CqrsError, ProjectionRegistry, ValidationError


def serve(folder: Path, command: Transfer) -> None:
    with SagaOrchestrator(folder / "home", versions=versions) as orchestrator:
        bus = bus_of(orchestrator, folder / "vault.db")
        try:
            for happened in bus.dispatch(command, idempotency_key=command.id):
                print(happened)
        except ValidationError as error:
            print(*(f"{each.field} {each.message}" for each in error.errors))
        except (SagaError, CqrsError) as error:
            print(f"{type(error).__name__}: {error}")
        store = orchestrator.event_store
        with ProjectionRegistry(store) as projections:
            projections.register("balances", Balances)
            projections.start_subscription()
            projections.wait_for("balances", store.head(), timeout_s=30)  # read what was just written
            balances = projections.get("balances").all()
    print("balances:", ", ".join(f"{account} {cents / 100:.2f}" for account, cents in balances.items()))


if __name__ == "__main__":
    folder, transfer_id, payer, receiver, cents = sys.argv[1:]
    serve(Path(folder), Transfer(transfer_id, payer, receiver, int(cents)))
