"""Chains of upcasters: how old data are brought up to date, and what is refused when it is registered."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.definition.events import decode_fields
from antistrophe.errors import InvalidUpcasterError, UnknownVersionError
from antistrophe.eventstore.auto_upcaster import AutoUpcaster
from antistrophe.eventstore.versions import Migration, VersionRegistry
from tests.cqrs.user_versions import UserV1, UserV2, UserV3, fields_of, full_chain

# --- reading ------------------------------------------------------------------------------------------------------


def test_a_chain_of_functions_on_dicts_leads_to_its_end_where_no_class_is_left() -> None:
    versions = VersionRegistry()

    @versions.upcaster("versions.gone", from_version=1)
    def split(data: dict[str, Any]) -> dict[str, Any]:
        first, _, last = data.pop("name").partition(" ")
        return {**data, "first": first, "last": last}

    @versions.upcaster("versions.gone", from_version=2)
    def shout(data: dict[str, Any]) -> dict[str, Any]:
        return {name: value.upper() for name, value in data.items()}

    assert versions.upcast("versions.gone", 1, {"name": "Ada Lovelace"}) == (3, {"first": "ADA", "last": "LOVELACE"})
    assert versions.upcast("versions.gone", 2, {"first": "Ada"}) == (3, {"first": "ADA"})
    assert versions.upcast("versions.gone", 3, {"first": "Ada"}) == (3, {"first": "Ada"})
    assert split({"name": "A B"}) == {"first": "A", "last": "B"}  # the decorator hands the function back


def test_functions_and_classes_go_together_in_one_chain() -> None:
    versions = VersionRegistry()
    versions.register_upcaster(AutoUpcaster(UserV1, UserV2))

    @versions.upcaster("versions.user", from_version=2)
    def to_third(data: dict[str, Any]) -> dict[str, Any]:
        return {"first": data["name"], "last": ",".join(data["tags"]), "email": data["email"]}

    # The defaults of the class in between are there for the function after it.
    assert versions.upcast("versions.user", 1, {"name": "Ada"}) == (
        3,
        {"first": "Ada", "last": "", "email": "unknown@example.org"},
    )


def test_an_upcaster_may_skip_versions() -> None:
    versions = VersionRegistry()
    versions.upcaster("versions.skip", from_version=1, to_version=4)(lambda data: {**data, "way": "long"})
    versions.upcaster("versions.skip", from_version=2)(lambda data: {**data, "way": "short"})
    versions.upcaster("versions.skip", from_version=3)(lambda data: data)
    assert versions.upcast("versions.skip", 1, {}) == (4, {"way": "long"})
    assert versions.upcast("versions.skip", 2, {}) == (4, {"way": "short"})
    versions.check()


def test_data_that_need_nothing_are_the_same_object() -> None:
    data: dict[str, Any] = {"first": "Ada", "last": "L", "email": "e"}
    assert full_chain().upcast("versions.user", 3, data)[1] is data
    assert full_chain().upcast("versions.nobody_knows", 7, data) == (7, data)


def test_an_older_version_of_a_type_without_upcasters_is_read_as_it_is() -> None:
    version, data = VersionRegistry().upcast("versions.user", 1, {"name": "Ada"})
    assert decode_fields("versions.user", version, data) == UserV1("Ada")


def test_an_upcaster_can_change_neither_what_others_read_nor_its_own_constants() -> None:
    versions = VersionRegistry()
    shared: dict[str, Any] = {"list": [1]}
    versions.upcaster("versions.mutation", from_version=1)(lambda data: {**data, **shared})

    @versions.upcaster("versions.mutation", from_version=2)
    def spoil(data: dict[str, Any]) -> dict[str, Any]:
        data["nested"]["items"].append("spoilt")
        data["list"].append("spoilt")
        data["tuple"][0]["spoilt"] = True
        del data["name"]
        return data

    original = {"name": "Ada", "nested": {"items": [1]}, "tuple": ({},), "set": {1}}
    for _ in range(2):
        _, data = versions.upcast("versions.mutation", 1, original)
        assert data == {
            "nested": {"items": [1, "spoilt"]},
            "tuple": ({"spoilt": True},),
            "set": {1},
            "list": [1, "spoilt"],
        }
    assert original == {"name": "Ada", "nested": {"items": [1]}, "tuple": ({},), "set": {1}}
    assert shared == {"list": [1]}


# --- refused when registered --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"), [(2, 2), (3, 1), (0, 1), (-1, 3), (True, 2), (1.0, 2), ("1", 2), (1, 2**63), (2**63, 2**64)]
)
def test_a_circle_or_no_version_at_all_is_refused(start: Any, end: Any) -> None:
    versions = VersionRegistry()
    with pytest.raises(InvalidUpcasterError, match=r"versions\.circle"):
        versions.upcaster("versions.circle", from_version=start, to_version=end)(lambda data: data)
    assert versions.upcaster_count == 0


@pytest.mark.parametrize("start", ["1", None, 0, 1.0, True])
def test_no_version_is_refused_without_the_next_one_being_named(start: Any) -> None:
    versions = VersionRegistry()
    with pytest.raises(InvalidUpcasterError, match=r"versions\.circle.*from_version must be a whole number from 1"):
        versions.upcaster("versions.circle", from_version=start)(lambda data: data)
    assert versions.upcaster_count == 0


def test_what_is_no_upcaster_is_refused_when_it_is_registered() -> None:
    versions = VersionRegistry()
    not_a_name: Any = UserV1
    with pytest.raises(InvalidUpcasterError, match=r"can't be the upcaster of event type .*UserV1"):
        versions.upcaster(not_a_name, from_version=1)(lambda data: data)
    not_a_function: Any = 5
    with pytest.raises(InvalidUpcasterError, match=r"5 .* can't be the upcaster of event type 'versions\.user'"):
        versions.upcaster("versions.user", from_version=1)(not_a_function)
    with pytest.raises(InvalidUpcasterError, match="is no AutoUpcaster"):
        versions.register_upcaster(not_a_name)
    with pytest.raises(InvalidUpcasterError, match="5 is no event"):
        AutoUpcaster(not_a_function, UserV2)
    assert versions.upcaster_count == 0


def test_a_duplicate_is_refused_and_the_first_stays() -> None:
    versions = full_chain()
    with pytest.raises(InvalidUpcasterError, match=r"AutoUpcaster\(UserV1, UserV2\).* would be the second"):
        versions.upcaster("versions.user", from_version=1)(lambda data: {})
    with pytest.raises(InvalidUpcasterError, match="already"):
        versions.register_upcaster(AutoUpcaster(UserV2, UserV3))
    assert versions.upcaster_count == 2
    assert versions.upcast("versions.user", 1, {"name": "A B"})[1]["first"] == "A"


# --- check, and what reading refuses ------------------------------------------------------------------------------


def test_check_accepts_a_whole_chain_and_an_empty_registry() -> None:
    full_chain().check()
    VersionRegistry().check()


@pytest.mark.parametrize(("present", "missing"), [(1, 2), (2, 1)])
def test_a_gap_up_to_the_newest_class_is_an_error(present: int, missing: int) -> None:
    versions = VersionRegistry()
    versions.upcaster("versions.user", from_version=present)(lambda data: data)
    with pytest.raises(InvalidUpcasterError, match=f"'versions.user' has no upcaster from version {missing}"):
        versions.check()
    with pytest.raises(InvalidUpcasterError, match=f"'versions.user' has no upcaster from version {missing}"):
        versions.upcast("versions.user", 1, {"name": "Ada"})


def test_check_names_every_gap_of_every_type_at_once() -> None:
    versions = VersionRegistry()
    versions.upcaster("versions.user", from_version=2)(lambda data: data)
    versions.upcaster("versions.holes", from_version=2)(lambda data: data)
    versions.upcaster("versions.holes", from_version=4)(lambda data: data)
    with pytest.raises(InvalidUpcasterError) as caught:
        versions.check()
    for text in ("'versions.user' has no upcaster from version 1", "'versions.holes' has no upcaster from version 3"):
        assert text in str(caught.value)


def test_versions_of_any_size_are_checked_in_no_time() -> None:
    versions = VersionRegistry()
    versions.upcaster("versions.dates", from_version=20_260_101, to_version=2**62)(lambda data: data)
    with pytest.raises(InvalidUpcasterError, match=r"'versions\.dates' has no upcaster from version 1,"):
        versions.check()
    with pytest.raises(InvalidUpcasterError, match=r"from_version must be .* not \.\.\. \(int\)"):
        versions.upcaster("versions.dates", from_version=2**20_000)(lambda data: data)


def test_a_chain_past_the_newest_class_is_an_error_of_check() -> None:
    versions = full_chain()
    versions.upcaster("versions.user", from_version=3)(lambda data: data)
    with pytest.raises(InvalidUpcasterError, match="leads to version 4, past the newest @event class"):
        versions.check()
    # Reading stops at the newest class; what the chain knows beyond it is no stranger.
    assert versions.upcast("versions.user", 2, fields_of(UserV2("A B")))[0] == 3
    assert versions.upcast("versions.user", 4, {"x": 1}) == (4, {"x": 1})


def test_a_newer_version_than_known_is_refused_by_name() -> None:
    for versions in (full_chain(), VersionRegistry()):
        with pytest.raises(UnknownVersionError, match=r"'versions.user' is of version 4.* versions up to 3"):
            versions.upcast("versions.user", 4, {})
    chain_only = VersionRegistry()
    chain_only.upcaster("versions.no_class", from_version=1)(lambda data: data)
    with pytest.raises(UnknownVersionError, match=r"'versions[.]no_class' is of version 3"):
        chain_only.upcast("versions.no_class", 3, {})


def test_an_upcaster_that_raises_is_named_with_its_cause() -> None:
    versions = VersionRegistry()

    @versions.upcaster("versions.raising", from_version=1)
    def broken(data: dict[str, Any]) -> dict[str, Any]:
        return {"x": data["missing"]}

    with pytest.raises(
        InvalidUpcasterError, match=r"broken of event type 'versions.raising' \(version 1 to 2\)"
    ) as info:
        versions.upcast("versions.raising", 1, {})
    assert isinstance(info.value.__cause__, KeyError)


@pytest.mark.parametrize("result", [None, [("a", 1)], "text", {1: "a"}, UserV1("Ada")])
def test_an_upcaster_that_returns_no_dict_is_named(result: Any) -> None:
    versions = VersionRegistry()
    versions.upcaster("versions.wrong", from_version=1)(lambda data: result)
    with pytest.raises(InvalidUpcasterError, match=r"'versions.wrong' \(version 1 to 2\) returned"):
        versions.upcast("versions.wrong", 1, {})


# --- what is registered -------------------------------------------------------------------------------------------


def test_migrations_are_derived_from_the_chain_in_order() -> None:
    versions = VersionRegistry()
    versions.register_upcaster(AutoUpcaster(UserV2, UserV3))
    versions.register_upcaster(AutoUpcaster(UserV1, UserV2))
    assert versions.migrations_for("versions.user") == [
        Migration("versions.user", 1, 2, "AutoUpcaster(UserV1, UserV2)"),
        Migration("versions.user", 2, 3, "AutoUpcaster(UserV2, UserV3)"),
    ]
    assert versions.migrations_for("versions.nobody_knows") == []
    assert versions.has_upcaster("versions.user", 1)
    assert not versions.has_upcaster("versions.user", 3)


def test_registering_while_others_read_loses_nothing() -> None:
    versions = VersionRegistry()
    versions.upcaster("versions.threads", from_version=1)(lambda data: {**data, "seen": True})
    errors: list[BaseException] = []
    started = threading.Barrier(5)

    def register(part: int) -> None:
        started.wait()
        for number in range(50):
            versions.upcaster(f"versions.threads.{part}.{number}", from_version=1)(lambda data: data)

    def read() -> None:
        started.wait()
        try:
            for _ in range(500):
                assert versions.upcast("versions.threads", 1, {}) == (2, {"seen": True})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=register, args=(part,)) for part in range(4)] + [threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert versions.upcaster_count == 201


def visiting(stop: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda data: {"path": [*data["path"], stop]}


@given(cuts=st.sets(st.integers(2, 12)), start=st.integers(1, 12))
def test_whatever_links_a_chain_has_reading_walks_all_of_them_in_order(cuts: set[int], start: int) -> None:
    versions = VersionRegistry()
    stops = sorted({1, *cuts, 13})
    for low, high in itertools.pairwise(stops):
        versions.upcaster("versions.random", low, high)(visiting(low))
    if start in stops:
        assert versions.upcast("versions.random", start, {"path": []}) == (
            13,
            {"path": [stop for stop in stops if start <= stop < 13]},
        )
    else:
        with pytest.raises(InvalidUpcasterError, match=f"no upcaster from version {start}"):
            versions.upcast("versions.random", start, {"path": []})
