"""The application: its routes, and what answers them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from antistrophe.client.chosen_settings import with_chosen_journal
from antistrophe.client.opening import home_of
from antistrophe.client.user_name import user_name
from antistrophe.dashboard.access import Access, Guard, RefusedError, posted
from antistrophe.dashboard.addresses import saga_path
from antistrophe.dashboard.bulk import preview
from antistrophe.dashboard.live import TooManyViewersError
from antistrophe.dashboard.orders import Order, give, give_all
from antistrophe.dashboard.site import Site
from antistrophe.errors import (
    AntistropheError,
    JournalError,
    RequestError,
    SagaExistsError,
    SagaNotFoundError,
    SystemUnavailableError,
)
from antistrophe.settings import Settings

Endpoint = Callable[[Site, Request], Awaitable[Response]]

_STATUS_OF: tuple[tuple[type[Exception], int], ...] = (
    (RefusedError, 403),
    (SagaNotFoundError, 404),
    (SagaExistsError, 410),
    (TooManyViewersError, 503),
    (SystemUnavailableError, 409),
    (JournalError, 503),
    (RequestError, 400),
    (AntistropheError, 409),
)


def application(
    home: str | os.PathLike[str] | None = None,
    *,
    journal: str | None = None,
    read_only: bool = False,
    token: str | None = None,
    user_header: str | None = None,
    local_only: bool = False,
) -> Starlette:
    """The dashboard of a home; `antistrophe.dashboard.app` says what the arguments mean. ``local_only``: it answers
    only where the Host header names this machine."""
    access = Access(token.strip() if token else None, local_only=local_only, user_header=user_header)
    url = with_chosen_journal(Settings(), journal).journal
    site = Site(home_of(home), access, read_only=read_only, journal=url)
    get, post = ["GET"], ["POST"]
    routes = [
        Route("/", _bound(site, partial(_view, "overview")), methods=get),
        Route("/sagas", _bound(site, partial(_view, "sagas")), methods=get),
        Route("/saga", _bound(site, partial(_view, "saga")), methods=get),
        Route("/saga/{order}", _bound(site, _order), methods=post),
        Route("/sagas/{id:any}/{order}", _bound(site, _order), methods=post),
        Route("/sagas/{id:any}", _bound(site, partial(_view, "saga")), methods=get),
        Route("/steps", _bound(site, partial(_view, "steps")), methods=get),
        Route("/limits", _bound(site, partial(_view, "limits")), methods=get),
        Route("/hosts", _bound(site, partial(_view, "hosts")), methods=get),
        Route("/processes", _bound(site, partial(_view, "processes")), methods=get),
        Route("/logs", _bound(site, _logs), methods=get),
        Route("/bulk", _bound(site, _preview), methods=get),
        Route("/bulk", _bound(site, _bulk), methods=post),
        Route("/live", _bound(site, _live), methods=get),
        Route("/series.json", _bound(site, _series), methods=get),
        Route("/metrics", _bound(site, _metrics), methods=get),
        Route("/login", _bound(site, _login_page), methods=get),
        Route("/login", _bound(site, _login), methods=post),
        Route("/logout", _bound(site, _logout), methods=post),
        Mount("/static", StaticFiles(directory=str(files("antistrophe.dashboard") / "static"))),
    ]
    guard = Middleware(Guard, access=access, ask_token=partial(_ask_token, site))
    made = Starlette(routes=routes, middleware=[guard], exception_handlers={404: _bound_error(site)})
    made.state.site = site
    return made


def _bound(site: Site, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint of this site. What goes wrong on purpose becomes a page that says so."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(site, request)
        except (AntistropheError, RefusedError, TooManyViewersError) as error:
            status = next(status for kind, status in _STATUS_OF if isinstance(error, kind))
            return problem(site, request, str(error) or "so many people look already that no more can", status)

    return answer


def _bound_error(site: Site) -> Callable[[Request, Exception], Response]:
    return lambda request, _error: problem(site, request, "there is no such page", 404)


def problem(site: Site, request: Request, text: str, status: int) -> Response:
    """A page that says what went wrong, and what to do."""
    return site.page(request, "problem.html", status=status, problem=text, number=status)


# --- looking --------------------------------------------------------------------------------------------------------


async def _view(view: str, site: Site, request: Request) -> Response:
    query = {**request.query_params, **request.path_params}
    values = await run_in_threadpool(site.values, view, query)
    return site.page(request, f"{view}.html", query=query, view=view, done=request.query_params.get("done"), **values)


async def _live(site: Site, request: Request) -> Response:
    events = site.hub.follow(site.live_key(request))
    first = await anext(events)

    async def sent() -> Any:
        try:
            yield first
            async for text in events:
                yield text
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    return StreamingResponse(sent(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _logs(site: Site, request: Request) -> Response:
    saga_id = request.query_params.get("id", "")
    records, left_out = await run_in_threadpool(site.stored.logs, saga_id)
    template = "_logs.html" if request.query_params.get("part") else "logs.html"
    return site.page(request, template, view="sagas", id=saga_id, records=records, left_out=left_out)


async def _series(site: Site, _request: Request) -> Response:
    return JSONResponse(await run_in_threadpool(site.series))


async def _metrics(site: Site, request: Request) -> Response:
    try:
        text, kind = await run_in_threadpool(site.metrics)
    except RequestError as error:  # the extra is not installed
        return problem(site, request, str(error), 404)
    return Response(text, media_type=kind)


# --- orders ---------------------------------------------------------------------------------------------------------


async def _form(site: Site, request: Request) -> dict[str, list[str]]:
    form = await posted(request, site.access)
    if site.read_only:
        raise RefusedError("this dashboard is read-only: it was started with --read-only, and gives no orders")
    return form


def _ordered(site: Site, request: Request, form: dict[str, list[str]], kind: str) -> Order:
    first = {name: values[0].strip() for name, values in form.items()}
    note = first.get("reason") or first.get("note") or None
    return Order(kind, site.access.user(request, user_name()), note, first.get("step") or first.get("step_name"))


async def _order(site: Site, request: Request) -> Response:
    form = await _form(site, request)
    saga_id = request.path_params.get("id", request.query_params.get("id", ""))
    order = _ordered(site, request, form, request.path_params["order"])
    effect = await run_in_threadpool(give, site.stored.home, saga_id, order)
    path = saga_path(saga_id)
    said = order.kind if effect else "nothing"
    return RedirectResponse(f"{site.root(request)}{path}{'&' if '?' in path else '?'}done={said}", status_code=303)


async def _preview(site: Site, request: Request) -> Response:
    found = await run_in_threadpool(preview, site.stored, request.query_params)
    await run_in_threadpool(site.stored.standing)  # it says whether there is somebody to take the order
    return site.page(request, "bulk.html", view="sagas", preview=found, results=None)


async def _bulk(site: Site, request: Request) -> Response:
    form = await _form(site, request)
    chosen = list(dict.fromkeys(form.get("id", [])))
    if not chosen:
        raise RequestError("no saga was chosen, so nothing was ordered")
    order = _ordered(site, request, form, form.get("order", [""])[0])
    if order.kind == "resolve":
        raise RequestError("a resolve is for one step of one saga: give it on the saga's page")
    results = await run_in_threadpool(give_all, site.stored.home, chosen, order)
    return site.page(request, "bulk.html", view="sagas", preview=None, results=results, order=order)


# --- the token ------------------------------------------------------------------------------------------------------


def _ask_token(site: Site, request: Request) -> Response:
    """What a request without the token gets: the form that asks for it."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    back = f"{path}?{request.url.query}" if request.url.query else path
    answer = site.page(request, "login.html", status=401, back=back if request.method == "GET" else "/", wrong=False)
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


async def _login_page(site: Site, request: Request) -> Response:
    return site.page(request, "login.html", back="/", wrong=False)


async def _login(site: Site, request: Request) -> Response:
    form = await posted(request, site.access)
    back = form.get("back", ["/"])[0]
    back = back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/"
    if not site.access.is_token(form.get("token", [""])[0].strip()):
        return site.page(request, "login.html", status=401, back=back, wrong=True)
    answer = RedirectResponse(f"{site.root(request)}{back}", status_code=303)
    site.set_cookie(request, answer, site.access.cookie, site.access.login())
    return answer


async def _logout(site: Site, request: Request) -> Response:
    await posted(request, site.access)
    answer: Response = HTMLResponse(status_code=303, headers={"Location": f"{site.root(request)}/login"})
    answer.delete_cookie(site.access.cookie, path=f"{site.root(request)}/")
    return answer
