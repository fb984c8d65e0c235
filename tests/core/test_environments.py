"""Whose environment the step processes of a saga get, and how long an environment is kept."""

from __future__ import annotations

from antistrophe.actors.supervisor.environments import INTRODUCE_S, OF_THE_SYSTEM, Environments
from antistrophe.client.introduction import Introduction, as_tool
from antistrophe.definition.spec import Origin
from antistrophe.messages import Introduce

SHOP = Origin("/shop/main.py", ("/shop", "/lib"), "/shop")
STEPS = Origin(None, ("/shop", "/lib"), "/shop")
"""Where a saga of the shop's modules comes from; no step is in the script."""

LATER = INTRODUCE_S + 1.0


def introduced(environments: Environments, client_id: str, origin: Origin = SHOP, *, tool: bool = False) -> str:
    """An application whose environment names it. Returns the digest."""
    value = ((b"WHO", client_id.encode()),)
    environments.introduced(Introduce("c", client_id, origin, value, not tool))
    (digest,) = [each for each, known in environments._known.items() if known == value]
    return digest


def of_saga(environments: Environments, client: str = "", last: str | None = None, now: float = LATER) -> str | None:
    return environments.of_saga(client, STEPS, last, now)


def test_programs_that_find_code_elsewhere_are_listed_from_the_newest_on() -> None:
    environments = Environments(0.0)
    older, newer = Origin(None, ("/r2",), "/r2"), Origin(None, ("/r3",), "/shop")
    for client_id, origin in {"a": older, "b": newer, "again": older, "same": SHOP, "late": newer}.items():
        introduced(environments, client_id, origin)
    introduced(environments, "tool", Origin(None, (), "/tool"), tool=True)
    assert environments.programs_beside(STEPS) == (newer, older)
    assert environments.programs_beside(newer) == (SHOP, older)


def test_that_of_its_own_application_comes_first() -> None:
    environments = Environments(0.0)
    mine = introduced(environments, "mine")
    newest = introduced(environments, "newest")
    assert of_saga(environments, "mine", newest) == mine
    assert environments.get(mine) == ((b"WHO", b"mine"),)


def test_a_saga_without_one_gets_that_of_the_newest_of_its_origin() -> None:
    environments = Environments(0.0)
    introduced(environments, "older")
    newest = introduced(environments, "newest")
    introduced(environments, "elsewhere", Origin("/bank/main.py", SHOP.sys_path, "/bank"))
    introduced(environments, "operator", tool=True)
    assert of_saga(environments, "gone", "last") == newest
    again = introduced(environments, "older")
    assert of_saga(environments) == again


def test_the_same_search_path_counts_before_the_same_folder() -> None:
    environments = Environments(0.0)
    exact = introduced(environments, "exact")
    introduced(environments, "other", Origin(SHOP.script, ("/other",), SHOP.cwd))
    assert of_saga(environments) == exact


def test_a_script_has_to_be_the_same() -> None:
    environments = Environments(0.0)
    introduced(environments, "other", Origin("/shop/other.py", SHOP.sys_path, SHOP.cwd))
    assert environments.of_saga("", SHOP, None, LATER) == OF_THE_SYSTEM


def test_then_the_last_one_then_that_of_a_tool_then_that_of_the_system() -> None:
    environments = Environments(0.0)
    assert of_saga(environments, now=0.5) is None, "an application may still introduce itself"
    assert of_saga(environments) == OF_THE_SYSTEM
    serve = introduced(environments, "serve", tool=True)
    assert of_saga(environments, now=0.5) is None
    assert of_saga(environments) == serve
    assert of_saga(environments, "serve", "last") == "last"


def test_one_is_kept_while_somebody_has_it() -> None:
    environments = Environments(0.0)
    mine, other = introduced(environments, "mine"), introduced(environments, "other")
    environments.left("mine", [mine])
    environments.left("other", [mine])
    assert environments.get(mine) is not None
    assert environments.get(other) is None
    environments.left("nobody", [])
    assert environments.get(mine) is not None


def test_a_process_that_was_a_tool_is_an_application_again_when_it_opens_another_orchestrator() -> None:
    with as_tool():
        tool = Introduction("tool")
    application = Introduction("application")
    assert not tool("1").brings_code
    assert application("2").brings_code
