"""Transfers with SQLAlchemy: each step stores its key in the transaction that has its effect, in your own database.

So an attempt that is repeated books nothing, and an undo knows whether there is anything to undo. The first credit is
booked, and then its process dies. The second credit is refused, and its debit is undone.
"""

import os
from collections.abc import Iterator

from sqlalchemy import Engine, create_engine, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from antistrophe import FatalError, SagaDefinition, SagaError, SagaOrchestrator, StepContext, on_worker_start, step

URL = "sqlite:///bank.db"


class Base(DeclarativeBase): ...


class Account(Base):
    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(primary_key=True)
    cents: Mapped[int]


class Booked(Base):
    __tablename__ = "booked"
    key: Mapped[str] = mapped_column(primary_key=True)


@on_worker_start
def bank() -> Iterator[Engine]:
    """Made once in each step process: there it is ctx.worker["bank"], with its pool of connections."""
    engine = create_engine(URL)
    yield engine
    engine.dispose()


def change(session: Session, name: str, cents: int) -> None:
    changed = update(Account).where(Account.name == name, Account.cents + cents >= 0).returning(Account.name)
    if session.scalar(changed.values(cents=Account.cents + cents)) is None:
        raise FatalError(f"{name} has no account, or too little money")


@step(idempotent=True)
def book(ctx: StepContext, name: str, cents: int) -> None:
    with Session(ctx.worker["bank"]) as session, session.begin():
        if session.get(Booked, ctx.idempotency_key) is None:
            session.add(Booked(key=ctx.idempotency_key))
            change(session, name, cents)
    if name == "bob" and ctx.attempt == 1:
        os._exit(1)  # an accident: booked, but nobody is told


@book.compensation
def take_back(ctx: StepContext, name: str, cents: int) -> None:
    with Session(ctx.worker["bank"]) as session, session.begin():
        if (booked := session.get(Booked, ctx.forward_key)) is not None:
            session.delete(booked)  # so that a second undo changes nothing
            change(session, name, -cents)


if __name__ == "__main__":
    engine = create_engine(URL)
    Base.metadata.create_all(engine)
    with SagaOrchestrator() as orchestrator, Session(engine) as session:
        if session.get(Account, "alice") is None:
            session.add_all([Account(name="alice", cents=100_00), Account(name="bob", cents=0)])
            session.commit()
        for payee in ("bob", "carol"):
            saga = SagaDefinition(f"from-alice-to-{payee}").add_step(book("alice", -25_00), name="debit")
            try:
                orchestrator.execute(saga.add_step(book(payee, 25_00), name="credit"))
            except SagaError as error:
                print(error)
            for each in orchestrator.handle(saga.id).metadata().steps:
                print(f"{saga.id}: {each.name} {each.status.value} after {each.attempts} attempt(s)")
        print(session.execute(select(Account.name, Account.cents)).all())
    engine.dispose()
