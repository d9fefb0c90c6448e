"""A real browser against the demo, and against servers of ours that do what the demo cannot.

What scripts see is asked in the page itself (WHATWG WebSockets): readyState, the four events, codes and reasons.
"""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from browsers import Chromium, Demo, page_server, running_demo

from wsfast.asyncio.server import ServerConnection
from wsfast.deflate import Deflate

if TYPE_CHECKING:
    from playwright.async_api import Page

LONGEST = "가" * 41
"""123 bytes of UTF-8: the longest reason (RFC 6455 5.5)."""

CLOSES = [(1000, ""), (1000, "done"), (3000, LONGEST), (4999, "🚀 그만")]

# Opens a socket, lets `act` do something with it, and tells all that happened until it is closed.
WATCH = """
async ([url, subprotocols, steps]) => {
  const seen = {events: [], states: [], messages: []};
  const socket = new WebSocket(url, subprotocols);
  socket.binaryType = "arraybuffer";
  seen.states.push(socket.readyState);
  const next = (name) => new Promise((resolve) => socket.addEventListener(name, resolve, {once: true}));
  for (const name of ["open", "message", "error", "close"])
    socket.addEventListener(name, () => { seen.events.push(name); seen.states.push(socket.readyState); });
  const closed = next("close");
  const opened = await Promise.race([next("open"), closed]);
  if (opened.type === "open") {
    seen.protocol = socket.protocol;
    seen.extensions = socket.extensions;
    for (const step of steps) {
      const message = step.wait ? next("message") : null;
      if (step.text !== undefined) socket.send(step.text);
      if (step.bytes !== undefined) socket.send(new Uint8Array(step.bytes));
      if (step.close !== undefined) {
        socket.close(...step.close);
        seen.states.push(socket.readyState);
      }
      if (message) {
        const {data} = await Promise.race([message, closed]);
        seen.messages.push(typeof data === "string" ? data : Array.from(new Uint8Array(data)));
      }
    }
  }
  const {code, reason, wasClean} = await closed;
  return {...seen, code, reason, clean: wasClean};
}
"""


async def watch(
    page: Page, url: str, *steps: dict[str, Any], subprotocols: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Open a socket in the page and take steps: send ``text`` or ``bytes``, ``wait`` for a message, ``close``."""
    seen: dict[str, Any] = await page.evaluate(WATCH, [url, list(subprotocols), list(steps)])
    return seen


InBrowser = Callable[..., Coroutine[Any, Any, None]]


def in_browser(test: InBrowser) -> Callable[..., None]:
    """Make a coroutine function, whose first argument is the browser, a test."""

    @functools.wraps(test)
    def run_test(chromium: Chromium, *args: Any, **kwargs: Any) -> None:
        chromium.run(test(chromium, *args, **kwargs))

    return run_test


# The demo


@in_browser
async def test_demo_page_tells_which_codec_runs(chromium: Chromium, demo: Demo) -> None:
    async with chromium.context() as context:
        page = await context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        await page.goto(demo.url)
        await page.locator(f'#info[data-codec="{demo.codec}"]').wait_for()
        await page.locator('#chat-state[data-state="1"]').wait_for()
        assert complaints == [], "neither a script nor the Content-Security-Policy"


@in_browser
async def test_demo_connection_by_hand(chromium: Chromium, demo: Demo) -> None:
    """Open, send text and binary, close with a reason: readyState 0-1-2-3, and the events in the log."""
    async with chromium.page(demo.url) as page:
        await page.fill("#subprotocol", "v11.stomp, v10.stomp")
        await page.click("#connect")
        await page.locator('#log li[data-event="open"][data-subprotocol="v11.stomp"]').wait_for()
        await page.locator('#ready-state[data-state="1"]').wait_for()
        await page.fill("#text", "안녕하세요 👋")
        await page.click("#send")
        size = len("안녕하세요 👋".encode())
        await page.locator(f'#log li[data-event="message"][data-kind="text"][data-bytes="{size}"]').wait_for()
        await page.click("#send-binary")
        await page.locator(
            f'#log li[data-event="message"][data-kind="binary"][data-bytes="{size}"]'
        ).wait_for()
        await page.fill("#close-code", "3000")
        await page.fill("#close-reason", LONGEST)
        await page.click("#close")
        closed = page.locator('#log li[data-event="close"][data-code="3000"][data-clean="true"]')
        await closed.wait_for()
        assert await closed.get_attribute("data-reason") == LONGEST
        await page.locator('#ready-state[data-state="3"]').wait_for()
        assert await page.text_content("#state-trail") == "0 1 2 3"


@in_browser
async def test_demo_1_mib_of_korean_and_emoji(chromium: Chromium, demo: Demo) -> None:
    async with chromium.page(demo.url) as page:
        await page.click("#connect")
        await page.click("#big")  # waits until it is enabled
        result = page.locator('#big-result:not([data-ok="pending"])[data-bytes]')
        await result.wait_for()
        assert await result.get_attribute("data-ok") == "true"
        assert await result.get_attribute("data-bytes") == str(2**20)


@in_browser
async def test_demo_chat_between_two_pages(chromium: Chromium, demo: Demo) -> None:
    async with chromium.page(demo.url) as mina, chromium.page(demo.url) as jun:
        for page, nick in ((mina, "미나"), (jun, "준 🚀")):
            await page.locator('#chat-state[data-state="1"]').wait_for()
            await page.fill("#chat-nick", nick)
            await page.click("#chat-join")
            await page.locator("#chat-people li", has_text=f"{nick} (you)").wait_for()
        await mina.fill("#chat-text", "<b>들려요?</b>")
        await mina.click("#chat-say")
        for page, own in ((mina, "true"), (jun, "false")):
            line = page.locator(f'#chat-lines li[data-nick="미나"][data-own="{own}"]').last
            await line.wait_for()
            assert await line.locator(".words").text_content() == "<b>들려요?</b>"


@in_browser
async def test_ready_state_and_events(chromium: Chromium, demo: Demo) -> None:
    seen = await watch(
        await chromium.shared_page(demo.url),
        demo.socket_url + "ws/echo",
        {"text": "안녕", "wait": True},
        {"bytes": [0, 255], "wait": True},
        {"close": [1000, "done"]},
    )
    assert seen["events"] == ["open", "message", "message", "close"]
    assert seen["states"] == [0, 1, 1, 1, 2, 3]
    assert seen["messages"] == ["안녕", [0, 255]]
    assert (seen["code"], seen["reason"], seen["clean"]) == (1000, "done", True)
    assert (seen["protocol"], seen["extensions"]) == ("", ""), "it offered permessage-deflate"


@pytest.mark.parametrize("path", ["ws/nowhere", "info"])
@in_browser
async def test_refused_handshakes_are_error_and_close(chromium: Chromium, demo: Demo, path: str) -> None:
    """4.1, 7.1.5: scripts are told nothing but 1006."""
    async with chromium.page(demo.url) as page:
        seen = await watch(page, demo.socket_url + path)
    assert seen["events"] == ["error", "close"]
    assert seen["states"] == [0, 3, 3]
    assert (seen["code"], seen["reason"], seen["clean"]) == (1006, "", False)


@in_browser
async def test_echo_of_all_sizes(chromium: Chromium, demo: Demo) -> None:
    """5.2: payload lengths in 7, 16 and 64 bits; up to 1 MiB of Korean and emoji, compared in the page."""
    page = await chromium.shared_page(demo.url)
    wrong = await page.evaluate(
        """
        async (url) => {
          const socket = new WebSocket(url);
          socket.binaryType = "arraybuffer";
          await new Promise((resolve) => socket.addEventListener("open", resolve));
          const big = "웹소켓 🚀👩🏽‍💻 ".repeat(30000);
          const bytes = new TextEncoder().encode(big);
          const messages = [big];
          for (const size of [0, 1, 125, 126, 127, 65535, 65536, 1048576]) {
            messages.push("~".repeat(size), bytes.slice(0, size));
          }
          const wrong = [];
          for (const message of messages) {
            const answer = new Promise((resolve) => socket.addEventListener("message", resolve, {once: true}));
            socket.send(message);
            const {data} = await answer;
            const same = typeof message === "string" ? data === message
              : data.byteLength === message.length
                && new Uint8Array(data).every((byte, position) => byte === message[position]);
            if (!same) wrong.push(message.length);
          }
          socket.close();
          return wrong;
        }
        """,
        demo.socket_url + "ws/echo",
    )
    assert wrong == []


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        (("v10.stomp", "v11.stomp"), "v10.stomp"),
        (("v11.stomp", "v10.stomp"), "v11.stomp"),
        (("v9.stomp", "v12.stomp"), "v12.stomp"),
    ],
)
@in_browser
async def test_subprotocol_is_chosen_in_the_clients_order(
    chromium: Chromium, demo: Demo, offers: tuple[str, ...], chosen: str
) -> None:
    """4.2.2."""
    page = await chromium.shared_page(demo.url)
    seen = await watch(page, demo.socket_url + "ws/chat", {"close": [1000]}, subprotocols=offers)
    assert seen["protocol"] == chosen
    assert seen["code"] == 1000


@in_browser
async def test_no_subprotocol_in_common_fails_in_the_browser(chromium: Chromium, demo: Demo) -> None:
    """The server opens without one (4.2.2); Chromium does not want that."""
    async with chromium.page(demo.url) as page:
        seen = await watch(page, demo.socket_url + "ws/chat", subprotocols=("v9.stomp",))
    assert seen["events"] == ["error", "close"]
    assert seen["code"] == 1006


@pytest.mark.parametrize(("code", "reason"), CLOSES)
@in_browser
async def test_close_by_the_page(chromium: Chromium, demo: Demo, code: int, reason: str) -> None:
    """7.1.5, 7.1.6: the answer has code and reason of the page, so that is what its event says."""
    page = await chromium.shared_page(demo.url)
    seen = await watch(page, demo.socket_url + "ws/echo", {"close": [code, reason]})
    assert seen["states"] == [0, 1, 2, 3]
    assert (seen["code"], seen["reason"], seen["clean"]) == (code, reason, True)


@in_browser
async def test_close_by_the_page_without_a_code(chromium: Chromium, demo: Demo) -> None:
    """5.5.1, 7.1.5: an empty Close frame is answered with an empty one, which is 1005."""
    page = await chromium.shared_page(demo.url)
    seen = await watch(page, demo.socket_url + "ws/echo", {"close": []})
    assert (seen["code"], seen["reason"], seen["clean"]) == (1005, "", True)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@in_browser
async def test_foreign_origin_is_refused_by_the_demo(chromium: Chromium, demo: Demo, host: str) -> None:
    """10.2: a page of another host or port may not use a visitor's browser to get in."""
    async with page_server() as port, chromium.page(f"http://{host}:{port}/") as page:
        for path in ("ws/echo", "ws/chat"):
            seen = await watch(page, demo.socket_url + path)
            assert (seen["events"], seen["code"]) == (["error", "close"], 1006)


@pytest.mark.parametrize("codec_name", ["native", "fallback"])
@in_browser
async def test_stopping_the_demo_closes_with_1001(chromium: Chromium, codec_name: str) -> None:
    """7.4.1: "going away", at once and clean."""
    with running_demo(codec_name) as demo:
        async with chromium.page(demo.url) as page:
            await page.locator('#chat-state[data-state="1"]').wait_for()
            await page.click("#connect")
            await page.locator('#ready-state[data-state="1"]').wait_for()
            await asyncio.to_thread(demo.stop)
            await page.locator('#log li[data-event="close"][data-code="1001"][data-clean="true"]').wait_for()


# Servers of ours

Ends = asyncio.Queue[tuple[int | None, str | None]]


@pytest.mark.parametrize(("code", "reason"), CLOSES)
@in_browser
async def test_close_by_the_server(
    chromium: Chromium, connection_codec: ModuleType, code: int, reason: str
) -> None:
    ends: Ends = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        await connection.send("last words")
        await connection.close(code, reason)
        ends.put_nowait((connection.close_code, connection.close_reason))

    page = await chromium.shared_page()
    async with page_server(handler) as port:
        seen = await watch(page, f"ws://127.0.0.1:{port}/ws")
        assert seen["events"] == ["open", "message", "close"]
        assert (seen["code"], seen["reason"], seen["clean"]) == (code, reason, True)
        assert (await ends.get())[0] == code


@pytest.mark.parametrize(("code", "reason"), CLOSES)
@in_browser
async def test_code_and_reason_of_the_page_reach_the_handler(
    chromium: Chromium, connection_codec: ModuleType, code: int, reason: str
) -> None:
    ends: Ends = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()
        ends.put_nowait((connection.close_code, connection.close_reason))

    page = await chromium.shared_page()
    async with page_server(handler) as port:
        await watch(page, f"ws://127.0.0.1:{port}/ws", {"close": [code, reason]})
        assert await ends.get() == (code, reason)


@in_browser
async def test_a_page_that_is_left_closes_with_1001(chromium: Chromium, connection_codec: ModuleType) -> None:
    """7.4.1: "a browser having navigated away from a page"."""
    ends: Ends = asyncio.Queue()
    opened = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        opened.set()
        await connection.wait_closed()
        ends.put_nowait((connection.close_code, connection.close_reason))

    async with page_server(handler) as port, chromium.page(f"http://127.0.0.1:{port}/") as page:
        await page.evaluate("(url) => { window.kept = new WebSocket(url); }", f"ws://127.0.0.1:{port}/ws")
        await opened.wait()
        await page.goto("about:blank")
        assert (await ends.get())[0] == 1001


@in_browser
async def test_pings_and_fragments(chromium: Chromium, connection_codec: ModuleType) -> None:
    """5.4, 5.5.2: a browser answers Pings, and joins fragments."""
    latencies: asyncio.Queue[float] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        latencies.put_nowait(await (await connection.ping(b"x" * 125)))
        await connection.send(["한", "", "글"])
        await connection.send([b"\x00", b"\xff"])

    page = await chromium.shared_page()
    async with page_server(handler) as port:
        seen = await watch(page, f"ws://127.0.0.1:{port}/ws", {"wait": True}, {"wait": True})
        assert seen["messages"] == ["한글", [0, 255]]
        assert seen["code"] == 1000
        assert await latencies.get() >= 0


@in_browser
async def test_a_message_that_is_too_large_is_closed_with_1009(
    chromium: Chromium, connection_codec: ModuleType
) -> None:
    """7.4.1, 10.4: the page gets to know although it is still sending."""

    async def handler(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    page = await chromium.shared_page()
    async with page_server(handler, max_size=1000) as port:
        seen = await watch(page, f"ws://127.0.0.1:{port}/ws", {"text": "x" * 1_000_000})
        assert seen["code"] == 1009
        # Chromium sends a large message as fragments: the first one is too large already.
        assert re.fullmatch(r"message of \d+ bytes exceeds max_size 1000", seen["reason"])


@in_browser
async def test_origins(chromium: Chromium, connection_codec: ModuleType) -> None:
    """10.2: the page's own origin is let in, any other is refused with 403."""

    async def handler(connection: ServerConnection) -> None:
        await connection.send("welcome")

    async with page_server() as port:
        own, foreign = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        async with (
            page_server(handler, origins=[own]) as socket_port,
            chromium.page(own) as own_page,
            chromium.page(foreign) as foreign_page,
        ):
            url = f"ws://127.0.0.1:{socket_port}/ws"
            assert (await watch(own_page, url))["events"] == ["open", "message", "close"]
            assert (await watch(foreign_page, url))["events"] == ["error", "close"]


@in_browser
async def test_wss(chromium: Chromium, connection_codec: ModuleType) -> None:
    """A certificate of our own, which the browser is told to put up with."""

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    async with (
        page_server(handler, ssl=tls) as port,
        chromium.page(f"https://localhost:{port}/", ignore_https_errors=True) as page,
    ):
        seen = await watch(
            page,
            f"wss://localhost:{port}/ws",
            {"text": "안녕", "wait": True},
            {"text": "🚀" * 262_144, "wait": True},
            {"close": [4999, LONGEST]},
        )
    assert seen["messages"] == ["안녕", "🚀" * 262_144]
    assert seen["states"] == [0, 1, 1, 1, 2, 3]
    assert (seen["code"], seen["reason"], seen["clean"]) == (4999, LONGEST, True)


# Compression (RFC 7692)


@pytest.mark.parametrize(
    ("settings", "extensions"),
    [
        ("deflate", "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"),
        (
            Deflate(
                server_no_context_takeover=True, client_no_context_takeover=True, client_max_window_bits=9
            ),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=12; client_max_window_bits=9",
        ),
    ],
    ids=["default", "small"],
)
@in_browser
async def test_compressed_messages(
    chromium: Chromium, connection_codec: ModuleType, settings: Any, extensions: str
) -> None:
    """RFC 7692 7: Chromium offers ``client_max_window_bits``, compresses all it sends, and checks our response."""

    async def echo(connection: ServerConnection) -> None:
        assert connection.compression is not None
        assert connection.compression.response == extensions
        async for message in connection:
            await connection.send(message, compress=True)

    page = await chromium.shared_page()
    texts = ["", "안녕하세요 👋", "안녕하세요 👋" * 20_000, "안녕하세요 👋"]
    octets = list(range(256)) * 50
    async with page_server(echo, compression=settings) as port:
        steps: list[dict[str, Any]] = [{"text": text, "wait": True} for text in texts]
        steps += [{"bytes": octets, "wait": True}, {"close": [1000, "done"]}]
        seen = await watch(page, f"ws://127.0.0.1:{port}/ws", *steps)
    assert seen["extensions"] == extensions
    assert seen["messages"] == [*texts, octets]
    assert (seen["code"], seen["reason"], seen["clean"]) == (1000, "done", True)


@in_browser
async def test_a_white_canvas(chromium: Chromium, connection_codec: ModuleType) -> None:
    """10.4: a picture of 8 MB deflates to 8 KB, and is no attack."""
    received: asyncio.Future[str | bytes] = asyncio.get_running_loop().create_future()

    async def take(connection: ServerConnection) -> None:
        received.set_result(await connection.recv())

    page = await chromium.shared_page()
    async with page_server(take, compression="deflate", max_size=2**24) as port:
        code = await page.evaluate(
            """(url) => new Promise((resolve) => {
              const canvas = document.createElement("canvas");
              [canvas.width, canvas.height] = [1920, 1080];
              const context = canvas.getContext("2d");
              context.fillStyle = "white";
              context.fillRect(0, 0, 1920, 1080);
              const socket = new WebSocket(url);
              socket.onopen = () => socket.send(context.getImageData(0, 0, 1920, 1080).data);
              socket.onclose = (event) => resolve(event.code);
            })""",
            f"ws://127.0.0.1:{port}/ws",
        )
    assert code == 1000
    assert await received == b"\xff" * (1920 * 1080 * 4)
