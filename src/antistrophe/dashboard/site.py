"""One dashboard: the home that it shows, who may see it, and how its pages are made."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from antistrophe.dashboard.access import FORM_COOKIE, FORM_FIELD, Access
from antistrophe.dashboard.live import Hub
from antistrophe.dashboard.rendering import Renderer
from antistrophe.dashboard.stored import StoredHome
from antistrophe.dashboard.throughput import Throughput
from antistrophe.dashboard.views import RESTLESS, VIEWS, system_values, values_of
from antistrophe.errors import AntistropheError, JournalError, RequestError
from antistrophe.journal import JournalPlace
from antistrophe.metrics import collector

if TYPE_CHECKING:
    from antistrophe.metrics.home_collector import HomeCollector

_log = logging.getLogger(__name__)


class Site:
    """What the endpoints of one application share. Nothing in it keeps a system running, or a file open."""

    def __init__(self, home: Path, access: Access, *, read_only: bool, journal: str | None = None) -> None:
        self.stored = StoredHome(home, journal)
        self.access = access
        self.read_only = read_only
        self.hub = Hub(self.stored.signature, self._live_html, lambda key: dict(parse_qsl(key))["view"] in RESTLESS)
        self._throughput = Throughput()
        self._collector: HomeCollector | None = None
        self._renderer = Renderer(
            {
                "home": str(home) if journal is None else str(JournalPlace.of_home(home, journal)),
                "shared": journal is not None,
                "read_only": read_only,
                "needs_token": access.token is not None,
                "form_field": FORM_FIELD,
            }
        )

    def root(self, request: Request) -> str:
        """The path below which the application is mounted, without a slash at its end."""
        return str(request.scope.get("root_path", "")).rstrip("/")

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """A page, with the token of its forms. A browser without a cookie for that gets one."""
        cookie = request.cookies.get(FORM_COOKIE, "")
        fresh = cookie or secrets.token_hex(16)
        shared = {
            "root": self.root(request),
            "form_token": self.access.form_token(fresh),
            "live": None,
            **system_values(self.stored.known_standing),
        }
        query = values.pop("query", None)
        if query is not None and values.get("view") in VIEWS:
            shared["live"] = urlencode({**query, "view": values["view"]})
        answer = HTMLResponse(self._renderer.render(template, **{"view": "", **shared, **values}), status_code=status)
        if not cookie:
            self.set_cookie(request, answer, FORM_COOKIE, fresh)
        return answer

    def set_cookie(self, request: Request, answer: Response, name: str, value: str) -> None:
        """A cookie that no script reads and no other site sends."""
        secure = request.url.scheme == "https"
        answer.set_cookie(name, value, path=f"{self.root(request)}/", httponly=True, samesite="strict", secure=secure)

    def values(self, view: str, query: Mapping[str, str]) -> dict[str, Any]:
        """What a view shows now; see ``views.values_of``. Where a saga's page can't be shown, the reason is raised."""
        values = values_of(view, self.stored, query)
        values |= system_values(self.stored.standing())
        if values["journal_problem"] and view in ("saga", "sagas"):
            raise JournalError(values["journal_problem"])
        return values

    def series(self) -> dict[str, Any]:
        """The last hour, for the charts. Raises JournalError."""
        with self.stored.look() as look:
            return self._throughput.series(look)

    def metrics(self) -> tuple[bytes, str]:
        """The metrics of the home as Prometheus reads them, and their content type. Raises RequestError where the extra
        `metrics` is not installed."""
        made = self._collector = self._collector or collector(self.stored.home, journal=self.stored.url or "")
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(made)
        return generate_latest(registry), CONTENT_TYPE_LATEST

    # --- live ---------------------------------------------------------------------------------------------------------

    def live_key(self, request: Request) -> str:
        """Which live page a request follows: the same text for everybody who sees the same. Raises RequestError."""
        if request.query_params.get("view") not in VIEWS:
            raise RequestError(f"view must be one of {', '.join(VIEWS)}")
        chosen = sorted((name, value) for name, value in request.query_params.items() if name not in ("done", "root"))
        return urlencode([("root", self.root(request)), *chosen])

    def _live_html(self, key: str) -> str:
        query = dict(parse_qsl(key, keep_blank_values=True))
        root, view = query.pop("root", ""), query.pop("view")
        try:
            values = self.values(view, query)
            return self._renderer.render("_live.html", view=view, root=root, **values)
        except AntistropheError as error:
            return self._problem(str(error), root)
        except Exception as error:  # one page that can't be made must not end the live pages of all others
            _log.exception("a live page could not be made: %s", view)
            return self._problem(f"this is a bug in antistrophe: {error!r}", root)

    def _problem(self, text: str, root: str) -> str:
        return self._renderer.render(
            "_problem.html", problem=text, root=root, **system_values(self.stored.known_standing)
        )
