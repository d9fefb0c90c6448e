"""examples/browser_chat.py: a page in Chromium and Python in one chat."""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path
from typing import Any

import pytest
from browsers import Chromium

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "browser_chat.py"


def test_a_page_and_python_chat(chromium: Chromium, capsys: pytest.CaptureFixture[str]) -> None:
    names = runpy.run_path(str(EXAMPLE))

    async def chat() -> list[str]:
        async with names["chat_server"](0) as server:
            port = server.sockets[0].getsockname()[1]
            socket: Any = names["join"](f"http://127.0.0.1:{port}/chat")
            while "hello from Python" not in capsys.readouterr().out:
                await asyncio.sleep(0.01)
            async with chromium.page(f"http://127.0.0.1:{port}/") as page:
                await page.locator("li", has_text="hello from the page").wait_for()
                socket.send("<b>들려요?</b>")
                await page.locator("li", has_text="<b>들려요?</b>").wait_for()
                await page.fill("#text", "네, 들려요!")
                await page.click("button")
                await page.locator("li", has_text="네, 들려요!").wait_for()
                lines = await page.locator("li").all_text_contents()
            socket.close(1000, "bye")
            while socket.readyState != socket.CLOSED:
                await asyncio.sleep(0.01)
            return lines

    assert chromium.run(chat()) == ["hello from the page", "<b>들려요?</b>", "네, 들려요!"]
    assert capsys.readouterr().out == "hello from the page\n<b>들려요?</b>\n네, 들려요!\nclosed: 1000 bye\n"
