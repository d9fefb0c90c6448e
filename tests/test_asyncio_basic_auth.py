"""``basic_auth`` (RFC 7617), over sockets and beside the peer that made the name known."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
import websockets.asyncio.client
from asyncio_helpers import in_loop, port_of, request_with, tcp_client, uri_of

from wsfast import basic_auth, connect, serve
from wsfast.asyncio.server import ServerConnection
from wsfast.exceptions import InvalidStatus


async def tell_name(connection: ServerConnection) -> None:
    await connection.send(connection.username)


def header(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def guarded(**options: Any) -> Any:
    return serve(tell_name, "127.0.0.1", 0, process_request=basic_auth(**options))


CREDENTIALS: list[dict[str, Any]] = [
    {"credentials": ("user", "p:w")},
    {"credentials": [("other", ""), ("user", "p:w")]},
    {"check_credentials": lambda user, password: (user, password) == ("user", "p:w")},
]


@pytest.mark.parametrize("options", CREDENTIALS)
@in_loop
async def test_the_right_credentials_open_the_connection(options: dict[str, Any]) -> None:
    """A password may have a colon, a user name has none (RFC 7617 2)."""
    async with guarded(**options) as server:
        async with connect(uri_of(server), additional_headers=header("user", "p:w")) as ws:
            assert await ws.recv() == "user"
        async with connect(f"ws://user:p%3Aw@127.0.0.1:{port_of(server)}/") as ws:
            assert await ws.recv() == "user"
        uri = f"ws://user:p%3Aw@127.0.0.1:{port_of(server)}/"
        async with websockets.asyncio.client.connect(uri, proxy=None) as theirs:
            assert await theirs.recv() == "user"


@in_loop
async def test_a_coroutine_may_check_them_and_text_is_utf_8() -> None:
    asked = []

    async def check(user: str, password: str) -> bool:
        await asyncio.sleep(0)
        asked.append((user, password))
        return True

    async with (
        guarded(check_credentials=check) as server,
        connect(uri_of(server), additional_headers=header("사용자", "비밀")) as ws,
    ):
        assert await ws.recv() == "사용자"
    assert asked == [("사용자", "비밀")]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], "Missing"),
        (["Authorization: Bearer x"], "Unsupported"),
        (["Authorization: Basic"], "Unsupported"),
        (["Authorization: Basic !!!!"], "Unsupported"),
        (["Authorization: Basic dXNlcg=="], "Unsupported"),  # "user"
        (["Authorization: Basic dXNlcjpwOnc=", "Authorization: Basic dXNlcjpwOnc="], "Unsupported"),
        (["Authorization: basic dXNlcjp4"], "Invalid"),  # "user:x"
        (["Authorization: Basic bm9ib2R5Og=="], "Invalid"),  # "nobody:"
        (["Authorization: Basic //8="], "Unsupported"),  # no colon, and no UTF-8
        (["Authorization: Basic /zr/"], "Invalid"),  # b"\xff:\xff"
    ],
)
@in_loop
async def test_all_else_is_answered_with_401(lines: list[str], text: str) -> None:
    """RFC 9110 15.5.2: with a challenge, and nothing of what was sent."""
    async with (
        guarded(realm='a "realm"', credentials=("user", "p:w")) as server,
        tcp_client(server) as peer,
    ):
        peer.send(request_with(*lines))
        assert (await peer.read_head()).startswith("HTTP/1.1 401 ")
        assert peer.headers("WWW-Authenticate") == [r'Basic realm="a \"realm\"", charset="UTF-8"']
        assert (await peer.reader.read()).decode() == f"{text} credentials\n"


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, ValueError),
        ({"credentials": ("a", "b"), "check_credentials": lambda user, password: True}, ValueError),
        ({"credentials": "ab"}, TypeError),
        ({"credentials": []}, TypeError),
        ({"credentials": ("a", 1)}, TypeError),
        ({"credentials": [("a", "b"), "cd"]}, TypeError),
        ({"credentials": 5}, TypeError),
        ({"check_credentials": 5}, TypeError),
        ({"realm": "a\nb", "credentials": ("a", "b")}, ValueError),
        ({"realm": None, "credentials": ("a", "b")}, TypeError),
    ],
)
def test_wrong_arguments_are_told_at_the_call(options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as mistake:
        basic_auth(**options)
    assert "'b'" not in str(mistake.value), "no password is shown"


@in_loop
async def test_the_client_reads_of_the_challenge() -> None:
    async with guarded(credentials=("user", "p:w")) as server:
        with pytest.raises(InvalidStatus, match="401") as refused:
            await connect(uri_of(server))
        assert refused.value.response.headers["WWW-Authenticate"].startswith("Basic ")
