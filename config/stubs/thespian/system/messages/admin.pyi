class QueryExists: ...

class QueryAck:
    systemName: str
    systemVersion: int
    inShutdown: bool

class SystemShutdown: ...
