"""Whole numbers that callers give: what is accepted, and which error names what is not."""

from __future__ import annotations

from typing import Any

import pytest

from antistrophe.errors import RequestError
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER, check_whole_number


@pytest.mark.parametrize("number", [1, 2, LARGEST_INTEGER])
def test_a_whole_number_in_the_range_is_accepted(number: int) -> None:
    check_whole_number(number, "limit", 1, highest=LARGEST_INTEGER)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.0, "1", None])
def test_what_is_no_such_number_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(RequestError, match="limit must be a whole number from 1 on, not "):
        check_whole_number(wrong, "limit", 1, error=RequestError)


def test_a_number_of_too_many_digits_to_show_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"limit must be a whole number from 1 on, not \.\.\. \(int\)"):
        check_whole_number(-(2**20_000), "limit", 1, error=RequestError)


def test_a_number_over_the_highest_is_refused() -> None:
    with pytest.raises(ValueError, match=f"limit must be a whole number from 1 on, up to {LARGEST_INTEGER}, not "):
        check_whole_number(LARGEST_INTEGER + 1, "limit", 1, highest=LARGEST_INTEGER)
    check_whole_number(LARGEST_INTEGER + 1, "limit", 1)
