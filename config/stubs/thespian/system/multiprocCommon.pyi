from typing import Any

class MultiProcReplicator:
    _childExited: Any
    _governer: Any

class MultiProcAdmin(MultiProcReplicator): ...

def get_multiproc_context(capabilities: dict[str, Any]) -> Any: ...
def startAdmin(*args: Any) -> None: ...
