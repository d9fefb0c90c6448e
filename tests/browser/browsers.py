"""A headless Chromium, driven from a loop in a thread of its own, and servers for it to talk to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import wsfast
from wsfast.asyncio.server import ServerConnection, serve
from wsfast.handshake import Request, Response
from wsfast.headers import Headers

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

T = TypeVar("T")

LIMIT = 60.0
"""Seconds that anything here may take."""

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


Handler = Callable[[ServerConnection], Coroutine[Any, Any, None]]


async def refuse(connection: ServerConnection) -> None:
    raise AssertionError("nobody was to connect here")


def page_response(connection: ServerConnection, request: Request) -> Response | None:
    """An empty page at "/", WebSockets elsewhere."""
    if request.path != "/":
        return None
    return Response(200, "OK", Headers({"Content-Type": "text/html"}), b"<!doctype html><title>page</title>")


@contextlib.asynccontextmanager
async def page_server(handler: Handler = refuse, **options: Any) -> AsyncIterator[int]:
    """A server of ours, and an empty page; yields its port."""
    async with serve(handler, "127.0.0.1", 0, process_request=page_response, **options) as server:
        yield server.sockets[0].getsockname()[1]


class Chromium:
    """Runs coroutines in a loop of its own thread: playwright's loop must not be in the way of other tests'."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._closing = contextlib.AsyncExitStack()
        self._browser: Any = None
        self._shared_pages: dict[str, Page] = {}
        self._empty_page_url = ""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        async def limited() -> T:
            async with asyncio.timeout(LIMIT):
                return await coroutine

        return asyncio.run_coroutine_threadsafe(limited(), self._loop).result()

    async def start(self) -> None:
        from playwright.async_api import async_playwright

        playwright = await self._closing.enter_async_context(async_playwright())
        # Debian's, or the one that "playwright install chromium" brings. Its profile is new and empty.
        self._browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        self._closing.push_async_callback(self._browser.close)
        port = await self._closing.enter_async_context(page_server())
        self._empty_page_url = f"http://127.0.0.1:{port}/"

    async def stop(self) -> None:
        await self._closing.aclose()

    def end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextlib.asynccontextmanager
    async def context(self, **options: Any) -> AsyncIterator[BrowserContext]:
        """As a browser that was just installed: no cookies, no cache."""
        context = await self._browser.new_context(**options)
        context.set_default_timeout(LIMIT * 1000)
        try:
            yield context
        finally:
            await context.close()

    @contextlib.asynccontextmanager
    async def page(self, url: str, **options: Any) -> AsyncIterator[Page]:
        async with self.context(**options) as context:
            page = await context.new_page()
            await page.goto(url)
            yield page

    async def shared_page(self, url: str | None = None) -> Page:
        """A page for tests that only run scripts in it, and clean up: a new one takes half a second.

        None: an empty page; not about:blank, which may not connect to this machine.
        """
        if url is None:
            url = self._empty_page_url
        if url not in self._shared_pages:
            self._shared_pages[url] = await self._closing.enter_async_context(self.page(url))
        return self._shared_pages[url]


@dataclass
class Demo:
    """A running ``wsfast demo``."""

    process: subprocess.Popen[str]
    url: str
    """Of the page, with a slash at its end."""
    codec: str

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=LIMIT)
        assert (self.process.returncode, err) == (0, ""), err
        assert out.endswith("stopped\n")


@contextlib.contextmanager
def running_demo(codec: str) -> Iterator[Demo]:
    env = {name: value for name, value in os.environ.items() if name != "WSFAST_PURE"}
    env["PYTHONPATH"] = str(Path(wsfast.__file__).parent.parent)
    if codec == "fallback":
        env["WSFAST_PURE"] = "1"
    # -P: the package of PYTHONPATH, and not the one in the working directory.
    command = [sys.executable, "-P", "-m", "wsfast", "demo", "--port", "0"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        banner = ""
        while "Ctrl-C" not in banner:
            line = process.stdout.readline()
            assert line, process.communicate()
            banner += line
        found = re.search(r"http://127\.0\.0\.1:\d+/", banner)
        assert found is not None, banner
        demo = Demo(process, found[0], codec)
        yield demo
        if process.poll() is None:
            demo.stop()
    finally:
        process.kill()
        process.communicate()
