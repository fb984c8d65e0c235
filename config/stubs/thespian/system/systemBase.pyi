from typing import Any

from thespian.actors import ActorAddress

class ExternalOpsToActors:
    adminAddr: ActorAddress
    transport: Any
    def __init__(self, adminAddr: ActorAddress, transport: Any = ...) -> None: ...

class systemBase(ExternalOpsToActors):
    def _verifyAdminRunning(self) -> bool: ...
    def shutdown(self) -> None: ...
