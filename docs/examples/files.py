"""Invoices as files and in an object store: a reader sees a whole file or none, and an undo works wherever it stopped.

The object store is a folder here, `bucket`. Like one of S3's, it has whole objects only, and takes it for no error to
delete what is not there. Invoice 2 can't be sent, invoice 3 loses its process amid the file: nothing of them is left.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from antistrophe import FatalError, SagaDefinition, SagaError, SagaOrchestrator, SagaStep, StepContext, step


def write_whole(path: Path, text: str, *, accident: bool = False) -> None:
    """Write beside the path, then rename: before that there is no such file, afterwards there is all of it."""
    path.parent.mkdir(exist_ok=True)
    with part_of(path).open("w") as part:
        part.write(text)
        if accident:
            os._exit(1)
        part.flush()
        os.fsync(part.fileno())  # the text is on the disk before the name is
    part_of(path).replace(path)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)  # all of it may be there, a part, or nothing
    part_of(path).unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


@dataclass(frozen=True)
class Write(SagaStep):
    path: Path
    text: str

    def execute(self) -> None:
        write_whole(self.path, self.text, accident="broken" in self.text)

    def compensate(self) -> None:
        remove(self.path)


@dataclass(frozen=True)
class Upload(SagaStep):
    path: Path
    key: str

    def execute(self) -> None:
        write_whole(Path("bucket", self.key), self.path.read_text())  # put_object(Bucket="bucket", Key=key, Body=...)

    def compensate(self) -> None:
        remove(Path("bucket", self.key))  # delete_object(Bucket="bucket", Key=key)


@step(requires_compensation=False)  # nothing comes after it
def send(ctx: StepContext, to: str) -> None:
    if "@" not in to:
        raise FatalError(f"{to!r} is no address")


if __name__ == "__main__":
    with SagaOrchestrator() as orchestrator:
        for number, text, to in (
            (1, "a lyre", "ann@a.example"),
            (2, "a harp", "bob"),
            (3, "broken", "carol@c.example"),
        ):
            path = Path("invoices", f"{number}.txt")
            saga = (
                SagaDefinition(f"invoice-{number}").add_step(Write(path, text)).add_step(Upload(path, f"{number}.txt"))
            )
            try:
                orchestrator.execute(saga.add_step(send(to)))
            except SagaError as error:
                print(error)
    print("left:", sorted(str(path) for folder in ("invoices", "bucket") for path in Path(folder).iterdir()))
