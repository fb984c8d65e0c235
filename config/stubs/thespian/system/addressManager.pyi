from typing import Any

from thespian.actors import ActorAddress

class ActorLocalAddress:
    generatingActor: ActorAddress
    addressInstanceNum: int
    addressManager: Any
    def __init__(self, generatingActorAddress: ActorAddress, addressInstanceNum: int, addrManager: object) -> None: ...

class CannotPickle(Exception): ...

class CannotPickleAddress(Exception):
    address: ActorAddress

class ActorAddressManager:
    def exportAddr(self, anAddress: ActorAddress) -> ActorAddress | None: ...
