"""The addresses of sagas: an id is any text, with slashes and dots too."""

from __future__ import annotations

from urllib.parse import quote

from starlette.convertors import Convertor, register_url_convertor

_DOTS = {".", ".."}
"""A browser takes these for folders, however they are written in a path: such an id stands in the query."""


class _AnyText(Convertor[str]):
    """Any text but the empty one, with slashes and line breaks."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _AnyText())


def saga_path(saga_id: str) -> str:
    """The path of a saga's page, below the root of the application."""
    quoted = quote(saga_id, safe="")
    return f"/saga?id={quoted}" if saga_id in _DOTS else f"/sagas/{quoted}"


def order_path(saga_id: str, order: str) -> str:
    """The path to which an order to a saga is posted."""
    quoted = quote(saga_id, safe="")
    return f"/saga/{order}?id={quoted}" if saga_id in _DOTS else f"/sagas/{quoted}/{order}"
