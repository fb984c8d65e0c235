"""Live pages by server-sent events: the part of a page that changes is made once for everybody who looks at it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

LOOK_S = 1.0
"""How often the hub looks whether something has changed; a page changes at most that often."""

AGES_S = 10.0
"""A page is made anew after so many seconds even where nothing has changed: ages grow."""

RESTLESS_S = 2.0
"""The same of a page that shows more than the signature tells of."""

KEEP_ALIVE_S = 15.0
MOST_VIEWERS = 1_000
MOST_PAGES = 100
_SHARE = 5
"""The hub rests for so many times as long as it has worked, so it takes a bounded part of a core."""

_LINE = re.compile(r"\r\n|\r|\n")


class TooManyViewersError(Exception):
    """So many look already that another one can't."""


@dataclass(slots=True)
class _Page:
    """What some people look at. ``text`` is the last event, made at the moment ``made_at``; ``viewers`` are woken for
    each other one. ``ages_s``: it is made anew after so many seconds."""

    ages_s: float
    text: str = ""
    made_at: float = 0.0
    viewers: set[asyncio.Event] = field(default_factory=set)


class Hub:
    """Everybody who looks at a live page of one application. It looks at the home only while somebody is there.
    ``is_restless``: whether a page may change where the signature does not."""

    def __init__(
        self,
        signature: Callable[[], object],
        render: Callable[[str], str],
        is_restless: Callable[[str], bool] = lambda _key: False,
    ) -> None:
        self._signature = signature
        self._render = render
        self._is_restless = is_restless
        self._pages: dict[str, _Page] = {}
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    @property
    def viewers(self) -> int:
        """How many look now."""
        return sum(len(page.viewers) for page in self._pages.values())

    async def follow(self, key: str) -> AsyncIterator[str]:
        """The events of one page, each as it is sent. Raises TooManyViewersError."""
        if self.viewers >= MOST_VIEWERS or (key not in self._pages and len(self._pages) >= MOST_PAGES):
            raise TooManyViewersError
        woken = asyncio.Event()
        page = self._pages.setdefault(key, _Page(RESTLESS_S if self._is_restless(key) else AGES_S))
        page.viewers.add(woken)
        if not page.text:
            self._wanted.set()
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._wanted = asyncio.Event()
            self._task = loop.create_task(self._run())
        sent = ""
        try:
            yield "retry: 1000\n\n"
            while True:
                if page.text != sent:
                    sent = page.text
                    yield sent
                woken.clear()
                if page.text == sent and not await _within(woken, KEEP_ALIVE_S):
                    yield ": still here\n\n"
        finally:
            page.viewers.discard(woken)
            if not page.viewers and self._pages.get(key) is page:
                del self._pages[key]

    async def _run(self) -> None:
        seen: object = None
        while self._pages:
            began = time.monotonic()
            now = await run_in_threadpool(self._signature)
            for key, page in list(self._pages.items()):
                if now != seen or not page.text or began - page.made_at >= page.ages_s:
                    await self._make(key, page)
            seen = now
            await self._rest(max(LOOK_S, _SHARE * (time.monotonic() - began)))

    async def _rest(self, seconds: float) -> None:
        """Wait so long; meanwhile make the pages that somebody has begun to look at."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0 and await _within(self._wanted, left_s):
            self._wanted.clear()
            for key, page in list(self._pages.items()):
                if not page.text:
                    await self._make(key, page)

    async def _make(self, key: str, page: _Page) -> None:
        page.made_at = time.monotonic()
        text = event("view", await run_in_threadpool(self._render, key))
        if text != page.text:
            page.text = text
            for woken in page.viewers:
                woken.set()


async def _within(woken: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(woken.wait(), seconds)
    except TimeoutError:
        return False
    return True


def event(name: str, text: str) -> str:
    """A server-sent event. A line break of any kind in the text begins another line of its data."""
    lines = "".join(f"data: {line}\n" for line in _LINE.split(text))
    return f"event: {name}\n{lines}\n"
