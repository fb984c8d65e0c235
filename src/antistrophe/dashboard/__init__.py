"""The dashboard: pages that show what runs, what waits and why, what failed and needs a person, and take orders.

How it works: `app` makes an ASGI application for one home. A page is made from the home's files alone, opened for
reading for each look: it works beside a running system and on a home whose system is stopped, starts none, and keeps
none running. An order (cancel, retry, resolve) attaches to the system that runs, for that order.

- `application` has the routes. `access` says who may see and do what. `stored` reads the home, `saga_filter` finds
  sagas. `overview`, `saga_page`, `step_classes` and `processes` make what the pages show; `rendering` turns that into
  HTML with the templates.
- `live` sends the part of a page that changes to everybody who looks at it: it is made once, however many look.
- `orders` and `bulk` are what changes something. `serving` is what `antistrophe dashboard` runs.

Rules: every text from outside is shown as text, by the templates' escaping and without control characters. Nothing is
loaded from another host, and no script or style stands in a page (`static` has them). A POST needs the token of a page
that this application has made. Starlette and Jinja2 are imported when `app` is called: they are an extra.

Start reading at `application`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from antistrophe.errors import RequestError

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["app"]

_PACKAGES = ("starlette", "jinja2", "uvicorn")
_EXTRA = "the dashboard needs starlette, uvicorn and jinja2: pip install 'antistrophe[dashboard]' ({error})"


def app(
    home: str | os.PathLike[str] | None = None,
    *,
    journal: str | None = None,
    read_only: bool = False,
    token: str | None = None,
    user_header: str | None = None,
) -> Starlette:
    """The dashboard of a home as an ASGI application, to serve or to mount::

        application.mount("/sagas-dashboard", antistrophe.dashboard.app("shop-home", token=os.environ["TOKEN"]))

    ``home``: by default ``$ANTISTROPHE_HOME``, else ``.antistrophe``; it may come into being later. With ``read_only``
    there are no orders. With a ``token`` every page needs it: as ``Authorization: Bearer TOKEN``, or once in the form
    that asks for it. ``user_header`` names the request header with which a proxy that you trust tells who acts; that
    name is journaled with each order, and otherwise the user of this process. ``journal``: the URL of the
    database that keeps the journal, as for ``SagaOrchestrator``.

    Raises RequestError for arguments that can't be used, and where the extra ``dashboard`` is not installed.
    """
    if token is not None and (not isinstance(token, str) or not token.strip()):
        raise RequestError("token must be a text that is not empty, or None for no token")
    if user_header is not None and (not isinstance(user_header, str) or not user_header.strip()):
        raise RequestError("user_header must be the name of a request header, or None")
    require_extra()
    from antistrophe.dashboard.application import application

    return application(home, journal=journal, read_only=read_only, token=token, user_header=user_header)


def require_extra() -> None:
    """Raise RequestError where the packages of the extra are not installed."""
    try:
        for name in _PACKAGES:
            import_module(name)
    except ImportError as error:
        raise RequestError(_EXTRA.format(error=error)) from error
