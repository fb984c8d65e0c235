"""A payment over HTTP: the bank books a key once, and can be asked whether it has. The bank is a small server in this
program, on 127.0.0.1, that loses the answer to its first booking. The second payment is taken back."""

import os
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import uuid4

import antistrophe
from antistrophe import FatalError, InDoubtError, SagaDefinition, SagaError, SagaStep, StepContext, StepResult

BOOKED: dict[str, int] = {}


class Bank(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        cents, is_first = int(self.rfile.read(int(self.headers["content-length"]))), not BOOKED
        print(f"bank: {BOOKED.setdefault(self.path, cents)} cents booked" + ", and no answer" * is_first)
        if not is_first:
            self.do_GET()

    def do_GET(self) -> None:
        self.send_response(200 if self.path in BOOKED else 404)
        self.end_headers()

    def do_DELETE(self) -> None:
        print(f"bank: {BOOKED.pop(self.path, 0)} cents paid back")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def ask(method: str, key: str, body: str | None = None) -> int:
    with closing(HTTPConnection("127.0.0.1", int(os.environ["BANK_PORT"]), timeout=5)) as connection:
        connection.request(method, f"/charges/{key}", body)
        return connection.getresponse().status


@dataclass(frozen=True)
class Charge(SagaStep):
    cents: int

    def execute(self, ctx: StepContext) -> None:
        try:
            ask("PUT", ctx.idempotency_key, str(self.cents))
        except (OSError, HTTPException) as error:
            raise InDoubtError(f"booked, or not: {error}") from error  # `verify` finds out

    def verify(self, ctx: StepContext) -> object:
        return StepResult() if ask("GET", ctx.forward_key) == 200 else antistrophe.NOT_APPLIED

    def compensate(self, ctx: StepContext) -> None:
        ask("DELETE", ctx.forward_key)  # pays back what is booked under this key, if anything is


@antistrophe.step(requires_compensation=False)
def ship(ctx: StepContext, address: str) -> None:
    if address == "the moon":
        raise FatalError(f"nobody carries to {address}")


if __name__ == "__main__":
    bank = ThreadingHTTPServer(("127.0.0.1", 0), Bank)
    Thread(target=bank.serve_forever, daemon=True).start()
    os.environ["BANK_PORT"] = str(bank.server_port)  # steps see it; it is not part of the saga, and not in the journal
    with antistrophe.SagaOrchestrator() as orchestrator:
        for cents, address in ((4900, "Delphi"), (900, "the moon")):
            handle = orchestrator.start(SagaDefinition(uuid4().hex).add_step(Charge(cents)).add_step(ship(address)))
            try:
                handle.result()
            except SagaError as error:
                print(error)
            print(handle.status().value)
    print("the bank has", sum(BOOKED.values()), "cents")
