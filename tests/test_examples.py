"""The README's code blocks run unchanged, and its commands are split as the shell would."""

from __future__ import annotations

import ast
import asyncio
import functools
import queue
import re
import runpy
import shlex
import tempfile
import threading
import tomllib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asyncio_helpers import in_loop, port_of, uri_of
from helpers import BINARY, CLOSE, KEY, PING, PONG, TEXT, frame, join
from rooms_helpers import RedisServer

import wsfast
from wsfast.asyncio.server import Server

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def block_with(text: str) -> str:
    [block] = [block for block in blocks("python") if text in block]
    return block


def run_block(block: str, monkeypatch: pytest.MonkeyPatch) -> Coroutine[Any, Any, None]:
    """Execute a block whose last line is ``asyncio.run(main())``; return what it would have run."""
    mains: list[Coroutine[Any, Any, None]] = []
    monkeypatch.setattr(asyncio, "run", mains.append)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    [main] = mains
    return main


@in_loop
async def test_echo_server_and_client(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As written, but for the port: the server takes one that is free, and the client is sent there."""
    servers: list[Server] = []
    real_serve, real_connect = wsfast.serve, wsfast.connect

    def serve(handler: Any, host: str, port: int) -> Server:
        assert (host, port) == ("127.0.0.1", 8765)
        servers.append(real_serve(handler, host, 0))
        return servers[0]

    def connect(uri: str) -> Any:
        assert uri == "ws://127.0.0.1:8765/"
        return real_connect(uri.replace("8765", str(port_of(servers[0]))))

    monkeypatch.setattr(wsfast, "serve", serve)
    monkeypatch.setattr(wsfast, "connect", connect)
    serving = asyncio.create_task(run_block(block_with("async def echo(ws)"), monkeypatch))
    while not (servers and servers[0].is_serving()):
        await asyncio.sleep(0)
    await run_block(block_with("print(await ws.recv())"), monkeypatch)
    assert capsys.readouterr().out == "Hello!\n"
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


def test_codec() -> None:
    """The block defines ``received(chunk)``, a server's echo."""
    names: dict[str, Any] = {}
    exec(compile(block_with("MessageDecoder(Role.SERVER"), "README.md", "exec"), names)
    received = names["received"]
    from_client = functools.partial(frame, key=KEY)
    stream = join(from_client(TEXT, "안녕"), from_client(BINARY, b"\xff"), from_client(PING, "?"))
    assert received(stream[:3]) == []
    assert received(stream[3:]) == [frame(TEXT, "안녕"), frame(BINARY, b"\xff"), frame(PONG, "?")]
    assert received(from_client(CLOSE, b"\x03\xe8")) == [frame(CLOSE, b"\x03\xe8")]


def test_codec_with_a_fault() -> None:
    names: dict[str, Any] = {}
    exec(compile(block_with("MessageDecoder(Role.SERVER"), "README.md", "exec"), names)
    [close] = names["received"](frame(TEXT, "not masked"))
    assert close == frame(CLOSE, b"\x03\xeaframe from a client is not masked")


def test_callbacks(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "callbacks.py"), run_name="__main__")
    *prices, end = capsys.readouterr().out.splitlines()
    assert [ast.literal_eval(price)["share"] for price in prices] == ["ACME"] * 5
    assert end == "sent 1000 (OK); then received 1000 (OK)"


@in_loop
async def test_callbacks_of_the_docs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block of docs/callbacks.md is an echo; the second lets the peer wait while a message is stored."""
    page = (ROOT / "docs" / "callbacks.md").read_text("utf-8")
    echo, storing = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    monkeypatch.setattr(asyncio, "run", lambda main: main.close())
    exec(compile(echo, "callbacks.md", "exec"), names)
    stored: list[str] = []

    async def store(message: str) -> None:
        await asyncio.sleep(0)
        stored.append(message)

    names["store"] = store
    exec(compile(storing, "callbacks.md", "exec"), names)
    for name, n_answers in (("Echo", 2), ("Storing", 0)):
        async with (
            wsfast.serve(listener=names[name], host="127.0.0.1", port=0) as server,
            wsfast.connect(uri_of(server)) as ws,
        ):
            await ws.send("a")
            await ws.send("b")
            assert [await ws.recv() for _ in range(n_answers)] == ["a", "b"][:n_answers]
    while len(stored) < 2:
        await asyncio.sleep(0)
    assert stored == ["a", "b"]


@in_loop
async def test_compression() -> None:
    """The calls are right; nothing is served before it is awaited."""

    async def handler(ws: Any) -> None:
        raise AssertionError("nobody connects")

    exec(compile(block_with('compression="deflate"'), "README.md", "exec"), {"handler": handler})


def test_all_python_blocks_are_run_here() -> None:
    assert len(blocks("python")) == 4


def wsfast_commands() -> Iterator[list[str]]:
    """Every ``wsfast ...`` in a shell block, without what the shell makes of pipes, comments and variables."""
    for line in "\n".join(blocks("sh")).splitlines():
        for part in re.split(r"\||&&", line):
            words = [word for word in shlex.split(part, comments=True) if not re.match(r"[A-Z_]+=", word)]
            if words and words[0].rpartition("/")[2] == "wsfast":
                yield words[1:]


@pytest.mark.parametrize("arguments", list(wsfast_commands()), ids=" ".join)
def test_commands_are_understood(arguments: list[str]) -> None:
    """Taken apart by the command line itself; ``test_cli`` runs them."""
    from wsfast.cli import _parser

    assert _parser().parse_args(arguments).command == arguments[0]


def test_commands_of_the_first_screen() -> None:
    """The two that a newcomer copies are one line each; CI runs the second as it is written."""
    demo, tests = [block.strip() for block in blocks("sh")[:2]]
    for line in (demo, tests):
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert demo.endswith(" && .venv/bin/wsfast demo")
    assert tests.endswith(" && .venv/bin/pytest")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "test" in project["optional-dependencies"]
    assert "wsfast" in project["scripts"]


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith(("http://", "https://")):
            assert (ROOT / target).exists(), target


DOCS = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.stem)
def test_links_of_the_docs_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def names_of_page(page: str, skip: str = "nothing") -> dict[str, Any]:
    """Run all blocks of a page of the docs, but those with ``skip`` in them, one after the other."""
    names: dict[str, Any] = {}
    text = (ROOT / "docs" / page).read_text("utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if skip not in block:
            exec(compile(block, f"docs/{page}", "exec"), names)
    return names


def test_testing_page() -> None:
    """Each test of the page passes, and time costs none."""
    names = names_of_page("testing.md")
    tests = [name for name in names if name.startswith("test_")]
    assert len(tests) == 6
    for name in tests:
        result = names[name]()
        if name != "test_it":
            wsfast.testing.run(result)


@in_loop
async def test_limits_page() -> None:
    names = names_of_page("limits.md", skip="wsfast.uvicorn")  # its host may be missing; tests/hosts has it
    assert names["decoder"].max_message_size == 1000

    async def handler(ws: Any) -> None:
        await ws.send(await ws.recv())

    async with (
        names["server"](handler) as server,
        names["client"](f"ws://127.0.0.1:{port_of(server)}/") as ws,
    ):
        await ws.send("hello")
        assert await ws.recv() == "hello"


def test_limits_page_has_every_limit() -> None:
    page = (ROOT / "docs" / "limits.md").read_text("utf-8")
    for name in wsfast.Limits.__dataclass_fields__:
        assert re.search(rf"^\|.*`{name}`", page, re.MULTILINE), name


@in_loop
async def test_operating_page(capsys: pytest.CaptureFixture[str]) -> None:
    names = names_of_page("operating.md")
    async with (
        wsfast.serve(names["greet"], "127.0.0.1", 0) as server,
        wsfast.connect(f"ws://127.0.0.1:{port_of(server)}/", count_frames=True) as ws,
    ):
        assert [message async for message in ws] == ["hello", "how are you?"]
        assert names["report"](ws) == "0 waiting, 0 B unsent, 0.0 ms, 2 messages of 25 B"
    async with wsfast.serve(names["handle"], "127.0.0.1", 0) as server:
        ws = await wsfast.connect(f"ws://127.0.0.1:{port_of(server)}/")
        ws.transport.write(b"\xff\xff")
        await ws.wait_closed()
    assert capsys.readouterr().out.startswith("protocol: ")
    async with wsfast.serve(names["handle"], "127.0.0.1", 0) as server:
        await names["stop"](server)
    assert capsys.readouterr().out == "0 of 0 closed in 0.0 s, 0 cut\n"


@in_loop
async def test_broadcast_page() -> None:
    """The handler reports, and ``publish`` takes what it says."""
    names = names_of_page("broadcast.md")
    async with (
        wsfast.serve(names["handler"], "127.0.0.1", 0) as server,
        wsfast.connect(f"ws://127.0.0.1:{port_of(server)}/") as ws,
    ):
        await ws.send("hello")
        assert await ws.recv() == "hello"
        names["publish"](server.connections, "ABC", 12)
        assert await ws.recv() == "ABC 12"


@in_loop
async def test_rooms_page() -> None:
    """The chat is served, and the start works though there is no broker. tests/hosts has the block of FastAPI."""
    names = names_of_page("rooms.md", skip="websocket")
    async with (
        wsfast.serve(names["chat"], "127.0.0.1", 0) as server,
        wsfast.connect(uri_of(server)) as ws,
    ):
        await ws.send("hello")
        assert await ws.recv() == "hello"
    await names["main"]("unix:///nobody/is/here")


# The scripts in examples/


def script(name: str) -> dict[str, Any]:
    path = ROOT / "examples" / f"{name}.py"
    names: dict[str, Any] = {"__name__": name, "__file__": str(path)}
    exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
    return names


@in_loop
async def test_basic_auth_script(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[Server] = []
    real_serve = wsfast.serve

    def serve(*args: Any, **options: Any) -> Server:
        servers.append(real_serve(*args, **options))
        return servers[0]

    monkeypatch.setattr(wsfast, "serve", serve)
    names = script("basic_auth")
    serving = asyncio.create_task(names["run_server"](0))
    while not (servers and servers[0].is_serving()):
        await asyncio.sleep(0)
    with pytest.raises(wsfast.InvalidStatus, match="401"):
        await names["run_client"](f"ws://admin:wrong@127.0.0.1:{port_of(servers[0])}/")
    client = asyncio.create_task(names["run_client"](f"ws://admin:secret@127.0.0.1:{port_of(servers[0])}/"))
    while "Hello, admin!\n" not in capsys.readouterr().out:
        await asyncio.sleep(0.01)
    for task in (client, serving):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@in_loop
async def test_router_script() -> None:
    pytest.importorskip("werkzeug")
    async with script("router")["make_server"](0) as server:
        async with wsfast.connect(f"ws://127.0.0.1:{port_of(server)}/room/7") as ws:
            assert await ws.recv() == "this is room 7"
        with pytest.raises(wsfast.InvalidStatus, match="404"):
            await wsfast.connect(f"ws://127.0.0.1:{port_of(server)}/other")


@in_loop
async def test_streaming_script(capsys: pytest.CaptureFixture[str]) -> None:
    await script("streaming")["main"]()
    assert capsys.readouterr().out == "you asked: what is a frame? \n"


@in_loop
async def test_browser_chat_script(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed comes back from the chat; the end of the input closes it. The page is tested in tests/browser."""
    typed: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(readline=typed.get))
    running = asyncio.create_task(script("browser_chat")["main"](0))
    printed = ""
    for wanted, line in (("hello from Python\n", "hello!\n"), ("hello!\n", "")):
        while wanted not in printed:
            await asyncio.sleep(0.01)
            printed += capsys.readouterr().out
        typed.put(line)
    await running
    address, *lines = (printed + capsys.readouterr().out).splitlines()
    assert address.startswith("http://127.0.0.1:")
    assert lines == ["hello from Python", "hello!", "closed: 1000 bye"]


@in_loop
async def test_browser_page() -> None:
    """The first block is the chat's client; the second shows arguments that exist."""
    page = (ROOT / "docs" / "browser.md").read_text("utf-8")
    chat, arguments = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    shown: list[str] = []
    names: dict[str, Any] = {"show": shown.append}
    async with script("browser_chat")["chat_server"](0) as server:
        exec(compile(chat.replace("8765", str(port_of(server))), "browser.md", "exec"), names)
        socket = names["socket"]
        while not shown:
            await asyncio.sleep(0.001)
        exec(compile(arguments, "browser.md", "exec"), names)
        for each in (socket, names["socket"]):
            each.close(3000, "enough")
            while each.readyState != each.CLOSED:
                await asyncio.sleep(0.001)
    assert shown == ["hello from Python", "closed: 3000 enough"]


def test_trio_chat_script(capsys: pytest.CaptureFixture[str]) -> None:
    trio = pytest.importorskip("trio")
    trio.run(script("trio_chat")["main"])
    assert capsys.readouterr().out == "Hello!\nnobody answers\n"


def test_trio_page(capsys: pytest.CaptureFixture[str]) -> None:
    """The first block is a program, and the second a function that leaves its loop early."""
    trio = pytest.importorskip("trio")
    names = names_of_page("trio.md")
    assert capsys.readouterr().out == "Hello!\n"

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(names["serve"], names["echo"], 0)
            async with server:
                port = server.listeners[0].socket.getsockname()[1]
                assert await names["first"](f"ws://localhost:{port}/") == "Hello!"

    trio.run(main)


def test_threads_script(capsys: pytest.CaptureFixture[str]) -> None:
    script("threads")["main"]()
    assert capsys.readouterr().out.splitlines() == [
        "ann: is anybody there?",
        "bob: I am",
        "nothing more for now",
        "ann left: sent 1000 (OK); then received 1000 (OK)",
    ]


@pytest.mark.parametrize("number", range(2))
def test_threads_page(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server, and then the client, which wants it at its port."""
    page = (ROOT / "docs" / "threads.md").read_text("utf-8")
    programs = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    monkeypatch.setattr(wsfast.sync.Server, "serve_forever", lambda self: None)
    with wsfast.sync.serve(echo_in_thread, "127.0.0.1", 0) as server:
        accepting = threading.Thread(target=real_serve_forever, args=(server,))
        accepting.start()
        port = server.sockets[0].getsockname()[1]
        code = programs[number].replace("8765", str(port) if number else "0")
        exec(compile(code, "threads.md", "exec"), {"__name__": "__main__"})
    accepting.join()


real_serve_forever = wsfast.sync.Server.serve_forever


def echo_in_thread(ws: wsfast.sync.ServerConnection) -> None:
    for message in ws:
        ws.send(message)


@in_loop
async def test_rooms_script() -> None:
    names = script("rooms")
    async with (
        names["make_rooms"]() as rooms,
        wsfast.serve(names["make_handler"](rooms), "127.0.0.1", 0) as server,
        wsfast.connect(uri_of(server) + "red") as a,
        wsfast.connect(uri_of(server) + "red") as b,
        wsfast.connect(uri_of(server) + "blue") as c,
    ):
        while len(rooms.members("/red")) < 2 or not rooms.members("/blue"):
            await asyncio.sleep(0)
        await a.send("hello")
        assert await a.recv() == await b.recv() == "hello"
        await c.send("nobody else")
        assert await c.recv() == "nobody else"


@in_loop
async def test_rooms_script_over_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    names = script("rooms")
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as broker:
        monkeypatch.setenv("REDIS_URL", broker.url)
        async with (
            names["make_rooms"]() as one,
            names["make_rooms"]() as two,
            wsfast.serve(names["make_handler"](one), "127.0.0.1", 0) as first,
            wsfast.serve(names["make_handler"](two), "127.0.0.1", 0) as second,
            wsfast.connect(uri_of(first) + "red") as a,
            wsfast.connect(uri_of(second) + "red") as b,
        ):
            for rooms in (one, two):
                while not rooms.members("/red"):
                    await asyncio.sleep(0)
                await rooms.subscribed("/red")
            await a.send("hello")
            assert await a.recv() == await b.recv() == "hello"
