from thespian.actors import ActorAddress, ActorSystemMessage

class QueryExists(ActorSystemMessage): ...

class QueryAck(ActorSystemMessage):
    systemName: str
    systemVersion: int | str
    inShutdown: bool
    def __init__(self, systemName: str, systemVersion: int | str, inShutdown: bool) -> None: ...

class SystemShutdown(ActorSystemMessage): ...
class SystemShutdownCompleted(ActorSystemMessage): ...

class PendingActor(ActorSystemMessage):
    actorClassName: str
    forActor: ActorAddress | None
    instanceNum: int
    targetActorReq: object
    globalName: str | None
    sourceHash: str | None
    def __init__(
        self,
        actorClassName: str,
        forActor: ActorAddress | None,
        instanceNumForActor: int,
        targetActorReq: object,
        globalName: str | None,
        sourceHash: str | None = ...,
    ) -> None: ...

class PendingActorResponse(ActorSystemMessage):
    forActor: ActorAddress | None
    instanceNum: int
    errorCode: int | None
    actualAddress: ActorAddress | None
    globalName: str | None
    errorStr: str | None
    def __init__(
        self,
        forActor: ActorAddress | None,
        instanceNumForActor: int,
        globalName: str | None,
        errorCode: int | None = ...,
        actualAddress: ActorAddress | None = ...,
        errorStr: str | None = ...,
    ) -> None: ...

class HandleDeadLetters(ActorSystemMessage):
    handlerAddr: ActorAddress
    enableHandler: bool
    def __init__(self, handlerAddr: ActorAddress, enableHandler: bool) -> None: ...
