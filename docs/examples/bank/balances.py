"""The projection of the bank: a table with the balance of every account, made of events alone."""

from bank_events import change

from antistrophe.cqrs import ProjectionConnection, RecordedEvent, Tables


class Balances:
    def create_in(self, connection: ProjectionConnection, tables: Tables) -> None:
        self.tables = tables
        self.table = tables.name("balances")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {self.table} (account TEXT PRIMARY KEY, cents INTEGER)")

    def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent) -> None:
        if not recorded_event.type.startswith("bank."):
            return
        connection.execute(
            f"INSERT INTO {self.table} VALUES (?, ?)"
            " ON CONFLICT (account) DO UPDATE SET cents = cents + excluded.cents",
            change(recorded_event.event),
        )

    def all(self) -> dict[str, int]:
        return dict(self.tables.query(f"SELECT account, cents FROM {self.table} ORDER BY account"))
