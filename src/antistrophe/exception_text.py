"""An exception in words, whatever its class does: its name and its own text."""

from __future__ import annotations


def name_and_text(error: BaseException) -> str:
    """The exception as the last line of a traceback says it."""
    text = clean(own_text(error))
    return f"{class_name_of(error)}: {text}" if text else class_name_of(error)


def class_name_of(error: BaseException) -> str:
    """The name of the exception's class."""
    return clean(type(error).__name__)


def own_text(error: BaseException) -> str:
    """The exception's text, without those of its members and causes."""
    try:
        return str.__str__(str(error))  # what str() gives may be of a class of its own, too
    except KeyboardInterrupt:
        raise
    except BaseException as broken:
        return f"(no text: str() of the exception raised {type(broken).__name__})"


def clean(text: str) -> str:
    """The text without lone surrogates, which UTF-8 can't hold."""
    return text.encode("utf-8", "replace").decode()
