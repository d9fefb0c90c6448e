"""Runs the checks of ``test_websocket_interface.py`` on ``wsfast.browser``: the twin of ``interpreter.js``.

A check is a list of steps, each a list: the name of a method of ``Run``, and its arguments.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from typing import Any

from wsfast import browser
from wsfast.browser import WebSocket

LIMIT = 5.0
"""Seconds that a check may take."""


class Run:
    def __init__(self, hosts: dict[str, str]) -> None:
        self.hosts = hosts
        self.log: list[Any] = []
        self.counts: Counter[str] = Counter()
        self.functions: dict[str, Any] = {}
        self.events: dict[str, Any] = {}
        self.socket: WebSocket | None = None

    def note(self, value: Any) -> None:
        if isinstance(value, str):
            for name, host in self.hosts.items():
                value = value.replace(host, name)
        self.log.append(value)

    def note_data(self, data: Any) -> None:
        if isinstance(data, str):
            self.note(["text of", len(data)] if len(data) > 1000 else data)
        else:
            self.note([{bytes: "blob", bytearray: "arraybuffer"}[type(data)], *data])

    def listener(self, label: str, actions: list[Any]) -> Any:
        def called(event: Any) -> Any:
            self.note(label)
            return self.act(actions, event)

        return self.functions.setdefault(label, called)

    def act(self, actions: list[Any], event: Any) -> Any:
        result = None
        for name, *args in actions:
            if name == "fail":
                raise RuntimeError("on purpose")
            if name == "give":
                result = args[0]
            elif name == "call":
                getattr(event, args[0])()
            elif name == "event":
                self.note_attributes(event, args)
            else:
                self.step(name, args)
        return result

    def note_attributes(self, event: Any, names: list[str]) -> None:
        for name in names:
            value = getattr(event, name)
            self.note("socket" if isinstance(value, WebSocket) else value)

    def step(self, name: str, args: list[Any]) -> Any:
        try:
            return getattr(self, name)(*args)
        except browser.DOMException as error:
            self.note(f"throws {error.name}")
        except TypeError:
            self.note("throws TypeError")

    def new(self, url: str, protocols: Any) -> None:
        for name, host in self.hosts.items():
            url = url.replace(name, host)
        options = {} if protocols is None else {"protocols": protocols}
        self.socket = WebSocket(url, **options, proxy=None, close_timeout=0.2)
        for type in ("open", "message", "error", "close"):
            self.socket.addEventListener(type, lambda event: self.counts.update([event.type]))

    def watch(self) -> None:
        assert self.socket is not None
        self.socket.addEventListener("open", lambda event: self.note("open"))
        self.socket.addEventListener("message", lambda event: self.note_data(event.data))
        self.socket.addEventListener("error", lambda event: self.note("error"))
        self.socket.addEventListener(
            "close", lambda event: self.note([event.code, event.reason, event.wasClean])
        )

    def get(self, *names: str) -> None:
        for name in names:
            self.note(getattr(self.socket, name))

    def constant(self, name: str) -> None:
        self.note(getattr(WebSocket, name))

    def set(self, name: str, value: Any) -> None:
        setattr(self.socket, name, value)

    def send(self, data: Any) -> None:
        self.socket.send(data)

    def send_bytes(self, data: list[int]) -> None:
        self.socket.send(bytes(data))

    def send_part(self, data: list[int], begin: int, end: int) -> None:
        self.socket.send(memoryview(bytes(data))[begin:end])

    def send_repeated(self, text: str, n: int) -> None:
        self.socket.send(text * n)

    def close(self, *args: Any) -> None:
        self.socket.close(*args)

    def on(self, type: str, label: str | None, actions: list[Any]) -> None:
        setattr(self.socket, f"on{type}", None if label is None else self.listener(label, actions))

    def has_handler(self, type: str) -> None:
        self.note(getattr(self.socket, f"on{type}") is not None)

    def listen(self, type: str, label: str, options: dict[str, bool], actions: list[Any]) -> None:
        self.socket.addEventListener(type, self.listener(label, actions), **options)

    def listen_object(self, type: str, label: str, options: dict[str, bool], actions: list[Any]) -> None:
        class Listener:
            handleEvent = staticmethod(self.listener(label, actions))

        listener = self.functions.setdefault(f"{label} object", Listener())
        self.socket.addEventListener(type, listener, **options)

    def unlisten(self, type: str, label: str, options: dict[str, bool]) -> None:
        self.socket.removeEventListener(type, self.functions[label], **options)

    def unlisten_object(self, type: str, label: str) -> None:
        self.socket.removeEventListener(type, self.functions[f"{label} object"])

    def listen_none(self, type: str) -> None:
        self.socket.addEventListener(type, None)

    def make(self, kind: str, label: str, type: str, init: dict[str, Any]) -> None:
        self.events[label] = getattr(browser, kind)(type, **init)

    def dispatch(self, label: str) -> None:
        self.note(self.socket.dispatchEvent(self.events[label]))

    def read(self, label: str, *names: str) -> None:
        self.note_attributes(self.events[label], list(names))

    async def wait(self, type: str, n: int) -> None:
        while self.counts[type] < n:
            await asyncio.sleep(0.001)

    async def until(self, name: str, value: Any) -> None:
        while getattr(self.socket, name) != value:
            await asyncio.sleep(0.001)

    async def next(self, type: str) -> None:
        happened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.socket.addEventListener(type, happened.set_result, once=True)
        self.note_data((await happened).data)

    async def rest(self, milliseconds: float) -> None:
        await asyncio.sleep(milliseconds / 1000)


async def do(steps: list[Any], hosts: dict[str, str]) -> list[Any]:
    """Do the steps of a check, and return all that it noted; at the end the socket is closed."""
    run = Run(hosts)
    loop = asyncio.get_running_loop()
    former_handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: run.note("reported"))  # exceptions that listeners raise
    try:
        async with asyncio.timeout(LIMIT):
            for name, *args in steps:
                result = run.step(name, args)
                if inspect.isawaitable(result):
                    await result
    except TimeoutError:
        run.note("time is over")
    finally:
        loop.set_exception_handler(former_handler)
    log = list(run.log)
    if run.socket is not None:
        run.socket.close()
        await run.until("readyState", WebSocket.CLOSED)
    return log
