"""The names that programs import from ``websockets``: which are the same here, which differ, and which are not there.

A name is the same if it stands in the module of the same name, takes the same arguments with the same defaults (and
maybe more arguments, and more defaults), and has the same public methods and fields. Each of the others has its reason
in a table.
"""

from __future__ import annotations

import enum
import importlib
import inspect
from typing import Any

import pytest

websockets = pytest.importorskip("websockets")

MODULES = (
    "asyncio.client",
    "asyncio.server",
    "asyncio.connection",
    "asyncio.router",
    "sync.client",
    "sync.server",
    "sync.connection",
    "sync.router",
    "exceptions",
    "frames",
    "typing",
    "datastructures",
    "http11",
    "uri",
    "headers",
    "extensions.permessage_deflate",
)

OF_TRIO = ("trio.client", "trio.server", "trio.router", "trio.connection")

COMPRESSION = "compression is off unless it is asked for, and there are no extensions of one's own"
SUBCLASSES = "what subclasses of theirs override (process_event, send_data, ...) is the session's here"
BUILDERS = "builds or parses a header for a connection without I/O; nobody imports it"
FACTORIES = "compression= takes a Deflate, which has all of it"

DIFFERENT = {
    "asyncio.client.connect": COMPRESSION,  # and no connect() and open_tcp_connection()
    "asyncio.client.ClientConnection": SUBCLASSES,
    "asyncio.server.serve": COMPRESSION,
    "asyncio.server.ServerConnection": SUBCLASSES,
    "asyncio.connection.Connection": SUBCLASSES,
    "asyncio.server.Server": "made by serve() only",
    "sync.client.connect": COMPRESSION,
    "sync.client.reconnect": COMPRESSION,  # and no open_connection(), open_socket() and enable_tls()
    "sync.client.ClientConnection": SUBCLASSES,
    "sync.server.serve": COMPRESSION,
    "sync.server.ServerConnection": SUBCLASSES,
    "sync.connection.Connection": SUBCLASSES,
    "sync.server.Server": "made by serve() only",
    "exceptions.PayloadTooBig": "never raised: it is there for except clauses",
    "frames.Frame": "payload for data; frames are encoded and decoded by wsfast.codec",
    "frames.Close": "has no methods; wsfast.codec reads and writes it",
    "http11.Request": "wsfast.handshake reads and writes it",
    "http11.Response": "wsfast.handshake reads and writes it",
    "headers.parse_upgrade": "takes the values of a header as a list",
}

NOT_THERE = {
    **dict.fromkeys(
        [
            f"headers.{name}"
            for name in (
                "build_host",
                "parse_connection",
                "parse_extension",
                "build_extension",
                "parse_subprotocol",
                "build_subprotocol",
                "validate_subprotocols",
                "build_www_authenticate_basic",
                "parse_authorization_basic",
                "build_authorization_basic",
            )
        ],
        BUILDERS,
    ),
    **dict.fromkeys(
        [
            f"extensions.permessage_deflate.{name}"
            for name in (
                "PerMessageDeflate",
                "ClientPerMessageDeflateFactory",
                "ServerPerMessageDeflateFactory",
                "enable_client_permessage_deflate",
                "enable_server_permessage_deflate",
            )
        ],
        FACTORIES,
    ),
}

NOT_AT_THE_TOP = {"ClientProtocol", "ServerProtocol", "Protocol"}
"""Their connections without I/O: ``wsfast.connection.Connection`` is ours, ``wsfast.websockets`` has theirs."""


def names(modules: tuple[str, ...]) -> list[str]:
    return [
        f"{module}.{name}"
        for module in modules
        for name in importlib.import_module(f"websockets.{module}").__all__
    ]


def ours(name: str) -> Any:
    module, _, last = name.rpartition(".")
    try:
        return getattr(importlib.import_module(f"wsfast.{module}"), last, None)
    except ModuleNotFoundError:
        return None


def public(thing: type) -> set[str]:
    fields = getattr(thing, "__dataclass_fields__", {})
    found = {name for name in (*dir(thing), *fields) if not name.startswith("_")}
    return found - set(dir(Exception)) - {"set_insecure"}  # which their source calls internal


def takes_the_same(theirs: Any, own: Any) -> bool:
    try:
        inspect.signature(theirs)
    except ValueError:  # an exception without arguments of its own
        return True
    try:
        known = inspect.signature(own).parameters
    except ValueError:
        return False
    for name, parameter in inspect.signature(theirs).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in ("user_agent_header", "server_header"):  # each names itself
            assert name in known
        elif name not in known and any(each.kind is each.VAR_KEYWORD for each in known.values()):
            if name != "extensions":
                return False
        elif name not in known or not (
            parameter.default is parameter.empty or equal(known[name].default, parameter.default)
        ):
            return False
    return True


def equal(one: Any, other: Any) -> bool:
    return bool(one == other) or (callable(one) and callable(other) and one.__name__ == other.__name__)


def is_same(theirs: Any, own: Any) -> bool:
    if isinstance(theirs, type) and issubclass(theirs, enum.Enum):
        return all(own.__members__.get(name) == value for name, value in theirs.__members__.items())
    if isinstance(theirs, type):
        return public(theirs) <= public(own) and takes_the_same(theirs, own)
    return takes_the_same(theirs, own) if inspect.isfunction(theirs) else own is not None


def theirs(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(f"websockets.{module}"), last)


@pytest.mark.parametrize("name", names(MODULES))
def test_each_name_is_as_the_tables_say(name: str) -> None:
    own = ours(name)
    if name in NOT_THERE:
        assert own is None
    elif name in DIFFERENT:
        assert own is not None
        assert not is_same(theirs(name), own), "it is the same by now"
    else:
        assert own is not None
        assert is_same(theirs(name), own)


def test_enough_names_are_the_same() -> None:
    known = names(MODULES)
    assert len([name for name in known if name not in DIFFERENT and name not in NOT_THERE]) >= 62


def test_the_tables_have_no_other_names() -> None:
    assert (DIFFERENT.keys() | NOT_THERE.keys()) <= set(names(MODULES))


@pytest.mark.parametrize("name", sorted(set(websockets.__all__) - NOT_AT_THE_TOP))
def test_the_top_has_the_name(name: str) -> None:
    import wsfast

    assert getattr(wsfast, name) is not None
    assert name in dir(wsfast)


def test_states_are_the_same_objects() -> None:
    """``ws.state is State.OPEN`` is a usual test."""
    from wsfast.connection import ReadyState
    from wsfast.protocol import State

    assert State is ReadyState
    assert {state.name: state.value for state in State} == {
        state.name: state.value for state in websockets.State
    }


# What is theirs, and differs here: see docs/trio.md.
TRIO_IS_OTHER = {"trio.client.connect", "trio.server.serve", "trio.server.Server"}


@pytest.mark.parametrize("module", OF_TRIO)
def test_each_name_of_trio_is_there(module: str) -> None:
    """With the same arguments, and all public methods but those that subclasses of theirs override."""
    other = pytest.importorskip(f"websockets.{module}")
    inner = {"acknowledge_pending_pings", "acknowledge_pings", "close_exc", "close_stream", "keepalive"}
    inner |= {"pause_reading", "process_event", "recv_events", "resume_reading", "send_context", "send_data"}
    inner |= {"set_connection_exc", "start_keepalive"}
    for name in other.__all__:
        own = ours(f"{module}.{name}")
        assert own is not None, name
        if inspect.isclass(own):
            own_names = {each for kind in (own,) for each in dir(kind)} | set(
                getattr(own, "__annotations__", ())
            )
            missing = public(getattr(other, name)) - own_names - inner
            assert missing <= {"connect", "enable_tls", "open_connection", "open_tcp_stream"}, name
        if f"{module}.{name}" in TRIO_IS_OTHER and not inspect.isclass(own):
            known = inspect.signature(own).parameters
            assert set(inspect.signature(getattr(other, name)).parameters) - {"extensions"} <= set(known)
