"""``wsfast.patch`` on packages that are not installed: modules with the expected names, and no code in them.

tests/hosts shows with the packages themselves that they work when patched.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from array import array
from types import ModuleType, SimpleNamespace

import pytest

import wsfast
from wsfast import patch
from wsfast.patch import PatchError, machine
from wsfast.patch.hosts import HOSTS, UNSUITABLE, Host, canonical, host_named

KEY = b"\x37\xfa\x21\x3d"
HELLO, MASKED = b"Hello", b"\x7f\x9f\x4d\x51\x58"  # RFC 6455 5.7


def original(*arguments):
    """Stands for any function of a host."""
    raise AssertionError("not patched")


class Original:
    """Stands for any class of a host."""


class Frame:
    mask = original
    unmask = mask


class Header:
    mask_payload = original
    unmask_payload = mask_payload


# For each host the names of its modules, and what is in them.
MODULES = {
    "tornado": {
        "tornado": {},
        "tornado.util": {"_websocket_mask": original, "_websocket_mask_python": original},
        "tornado.websocket": {"_websocket_mask": original},
    },
    "autobahn": {
        "autobahn": {},
        "autobahn.websocket": {"USES_NVX": False},
        "autobahn.websocket.protocol": {"create_xor_masker": original, "Utf8Validator": Original},
    },
    "ws4py": {
        "ws4py": {},
        "ws4py.framing": {"Frame": Frame},
        "ws4py.streaming": {"Utf8Validator": Original},
    },
    "gevent_websocket": {
        "geventwebsocket": {},
        "geventwebsocket.websocket": {"Utf8Validator": Original, "Header": Header},
        "geventwebsocket.utf8validator": {"Utf8Validator": Original},
    },
    "websocket_client": {
        "websocket": {},
        "websocket._abnf": {"_mask": original},
        "websocket._utils": {"_validate_utf8": original},
    },
}
NAMES = pytest.mark.parametrize("name", MODULES)
NEWEST = {host.distribution: host.newest for host in HOSTS}


@pytest.fixture(autouse=True)
def fake_hosts(monkeypatch):
    """Put the modules of all hosts in place, in their newest versions, and take all patches back in the end."""
    for modules in MODULES.values():
        for name, attributes in modules.items():
            module = ModuleType(name)
            vars(module).update(attributes)
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(machine, "installed_version", NEWEST.get)
    assert patch.status() == {}
    yield
    for name in MODULES:
        wsfast.unpatch(name)


def snapshot():
    """Return all that a patch could change."""
    found = {}
    for modules in MODULES.values():
        for name in modules:
            for attribute, value in vars(sys.modules[name]).items():
                if not attribute.startswith("__"):
                    found[name, attribute] = value
    for owner in (Frame, Header):
        found.update({(owner.__name__, name): value for name, value in vars(owner).items()})
    return found


def apply(name, **options):
    getattr(patch, name)(**options)


@NAMES
def test_on_off_and_on_again(name):
    before = snapshot()
    apply(name)
    patched = snapshot()
    assert patched != before
    wsfast.unpatch(name)
    assert snapshot() == before
    apply(name)
    assert snapshot() == patched


@NAMES
def test_twice_on_is_once(name):
    before = snapshot()
    apply(name)
    patched = snapshot()
    apply(name)
    apply(name, force=True)
    assert snapshot() == patched
    wsfast.unpatch(name)
    assert snapshot() == before


@NAMES
def test_off_when_it_is_not_on_does_nothing(name):
    before = snapshot()
    wsfast.unpatch(name)
    assert snapshot() == before


@NAMES
def test_nothing_else_is_patched(name):
    before = snapshot()
    apply(name)
    changed = {key[0] for key, value in snapshot().items() if value is not before[key]}
    assert changed <= {*MODULES[name], *({"Frame"} if name == "ws4py" else {"Header"})}


@NAMES
def test_another_version_is_refused(name, monkeypatch):
    before = snapshot()
    for version in ("0.0.1", "99.0"):
        monkeypatch.setattr(machine, "installed_version", lambda distribution, version=version: version)
        with pytest.raises(PatchError, match=rf" {version} was not tested .* force=True"):
            apply(name)
        assert snapshot() == before
    apply(name, force=True)
    assert snapshot() != before
    assert patch.status()[name].version == "99.0"


@NAMES
def test_a_host_that_is_not_installed(name, monkeypatch):
    monkeypatch.setattr(machine, "installed_version", lambda distribution: None)
    for force in (False, True):
        with pytest.raises(PatchError, match="is not installed"):
            apply(name, force=force)
    assert patch.status() == {}


@NAMES
def test_a_module_that_is_not_there(name, monkeypatch):
    monkeypatch.setitem(sys.modules, list(MODULES[name])[-1], None)  # which import takes for a missing one
    before = snapshot_of_classes()
    with pytest.raises(PatchError, match="not as wsfast knows it"):
        apply(name)
    assert patch.status() == {}
    assert snapshot_of_classes() == before


def snapshot_of_classes():
    return {owner: dict(vars(owner)) for owner in (Frame, Header)}


def test_a_name_that_is_not_there(monkeypatch):
    """Nothing is patched, not even what is there."""
    del sys.modules["tornado.websocket"]._websocket_mask
    with pytest.raises(PatchError, match=r"no tornado\.websocket\._websocket_mask"):
        patch.tornado()
    assert sys.modules["tornado.util"]._websocket_mask is original
    assert patch.status() == {}


@NAMES
def test_somebody_patched_after_us(name):
    before = snapshot()
    apply(name)
    patched = patch.status()[name].attributes
    owner, _, attribute = patched[-1].rpartition(".")
    owner = sys.modules.get(owner) or {"Frame": Frame, "Header": Header}[owner.rpartition(".")[2]]
    ours = vars(owner)[attribute]
    setattr(owner, attribute, "theirs")
    with pytest.raises(PatchError, match=f"{attribute} was replaced by somebody else"):
        wsfast.unpatch(name)
    assert patch.status()[name].attributes == patched, "nothing was undone"
    assert vars(owner)[attribute] == "theirs"
    setattr(owner, attribute, ours)
    wsfast.unpatch(name)
    assert snapshot() == before


def test_status():
    patch.tornado()
    patch.ws4py()
    assert patch.status() == {
        "tornado": patch.Patched(
            "6.6", ("tornado.util._websocket_mask", "tornado.websocket._websocket_mask")
        ),
        "ws4py": patch.Patched(
            "0.6", ("test_patch.Frame.mask", "test_patch.Frame.unmask", "ws4py.streaming.Utf8Validator")
        ),
    }
    wsfast.unpatch("ws4py")
    assert list(patch.status()) == ["tornado"]


def test_there_is_a_function_for_each_host():
    names = {host.name for host in HOSTS if host.patch}
    assert names == set(patch.__all__) - {"PatchError", "Patched", "status", "unpatch"}
    assert set(MODULES) == names - {"websockets", "wsproto"}


def test_unpatch_knows_its_names():
    with pytest.raises(ValueError, match="no patch has the name 'flask'; there are autobahn,"):
        wsfast.unpatch("flask")


@pytest.mark.parametrize("spelling", ["websocket-client", "WebSocket.Client", "websocket__client"])
def test_unpatch_takes_every_spelling_of_a_package(spelling):
    """PEP 503; ``wsfast doctor`` prints the first of them."""
    before = snapshot()
    patch.websocket_client()
    wsfast.unpatch(spelling)
    assert snapshot() == before


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("uvicorn", "type uvicorn --ws wsfast.uvicorn:WebSocketProtocol app:app"),
        ("fastapi", "type uvicorn --ws wsfast.uvicorn:WebSocketProtocol app:app"),
        ("hypercorn", r"type wsfast\.patch\.wsproto\(\)"),
        ("flask_sock", r"type wsfast\.patch\.wsproto\(\)"),
        ("daphne", r"type wsfast\.patch\.autobahn\(\)"),
        ("aiohttp", r"its own C takes as long .*docs/drop-in\.md"),
    ],
)
def test_a_package_without_a_patch_gets_advice(name, advice):
    """Where people look for a function and there is none, the error says how the package gets wsfast."""
    with pytest.raises(AttributeError, match=rf"^there is no wsfast\.patch\.{name}\(\): {advice}"):
        getattr(patch, name)
    assert not hasattr(patch, name)


def test_a_name_that_nobody_knows():
    with pytest.raises(AttributeError, match=r"module 'wsfast\.patch' has no attribute 'flask'$"):
        patch.flask()


def test_functions_look_like_functions():
    """For ``help``: a name, a signature and a text of their own."""
    for name in MODULES:
        function = getattr(patch, name)
        assert (function.__name__, function.__qualname__) == (name, name)
        assert function.__doc__.partition(":")[0].replace("-", "_") == name
        assert str(inspect.signature(function)) == "(*, force: 'bool' = False) -> 'None'"
        assert name in dir(patch)


def test_many_threads_patch_once():
    barrier = threading.Barrier(8)
    failures = []

    def work():
        barrier.wait()
        try:
            for _ in range(50):
                patch.tornado()
                wsfast.unpatch("tornado")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sys.modules["tornado.util"]._websocket_mask is original
    assert sys.modules["tornado.websocket"]._websocket_mask is original


def test_another_thread_is_faster(monkeypatch):
    """What we have looked up by then is not put on top of what it has done."""

    def version(distribution):
        monkeypatch.setattr(machine, "installed_version", NEWEST.get)
        thread = threading.Thread(target=patch.tornado)
        thread.start()
        thread.join()
        return NEWEST[distribution]

    monkeypatch.setattr(machine, "installed_version", version)
    patch.tornado()
    wsfast.unpatch("tornado")
    assert sys.modules["tornado.util"]._websocket_mask is original


def test_the_fallback_codec_is_not_put_in_place_of_c(monkeypatch):
    monkeypatch.setattr(wsfast.codec, "IMPLEMENTATION", "fallback")
    patch.tornado()  # tornado's own is Python here
    wsfast.unpatch("tornado")
    monkeypatch.setattr(sys.modules["tornado.util"], "_websocket_mask", "C")
    monkeypatch.setattr(sys.modules["autobahn.websocket"], "USES_NVX", True)
    for name in ("tornado", "autobahn"):
        with pytest.raises(PatchError, match=r"C of its own.*force=True"):
            apply(name)
        assert patch.status() == {}
        apply(name, force=True)
        wsfast.unpatch(name)


def test_importing_imports_no_host():
    """And no other part of wsfast, the codec included."""
    code = (
        "import sys, wsfast; wsfast.patch.status(); wsfast.unpatch;"
        "hosts = {'tornado', 'autobahn', 'ws4py', 'geventwebsocket', 'websocket', 'websockets', 'wsproto', 'wsaccel'};"
        "print(sorted(hosts & {name.partition('.')[0] for name in sys.modules}),"
        " sorted(name for name in sys.modules if name.startswith('wsfast.')))"
    )
    output = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True
    ).stdout
    hosts, _, modules = output.strip().partition("] ")
    assert hosts == "["
    expected = ["wsfast._version", "wsfast.patch", "wsfast.patch.hosts", "wsfast.patch.machine"]
    assert modules.strip("[]").replace("'", "").split(", ") == expected


# What is put in place


def test_tornado():
    patch.tornado()
    mask = sys.modules["tornado.websocket"]._websocket_mask
    assert mask(KEY, HELLO) == MASKED
    assert type(mask(KEY, HELLO)) is bytes
    with pytest.raises(ValueError, match="mask must be 4 bytes"):
        mask(b"abc", HELLO)
    with pytest.raises(TypeError):
        mask(KEY, 5)


def test_autobahn():
    patch.autobahn()
    protocol = sys.modules["autobahn.websocket.protocol"]
    for length in (None, 5, 500):
        masker = protocol.create_xor_masker(KEY, length)
        assert masker.process(HELLO[:3]) + masker.process(HELLO[3:]) == MASKED
        assert masker.pointer() == 5
        masker.reset()
        assert masker.process(HELLO) == MASKED
    with pytest.raises(AssertionError, match="Mask must be exactly 4 bytes"):
        protocol.create_xor_masker(b"abc")
    validator = protocol.Utf8Validator()
    assert validator.validate("é".encode()[:1]) == (True, False, 1, 1)
    assert validator.validate("é".encode()[1:]) == (True, True, 1, 2)
    assert validator.validate(b"a\xff") == (False, False, 1, 3)


def test_ws4py():
    patch.ws4py()
    for mask in (Frame.mask, Frame.unmask):
        frame = SimpleNamespace(masking_key=KEY)
        for data in (HELLO, bytearray(HELLO)):
            masked = mask(frame, data)
            assert masked == MASKED
            assert type(masked) is bytearray
        assert data == HELLO, "not in place"
        assert mask(SimpleNamespace(masking_key=None), b"") == b""


def test_gevent_websocket():
    patch.gevent_websocket()
    header = SimpleNamespace(mask=KEY, length=5)
    for mask in (Header.mask_payload, Header.unmask_payload):
        masked = mask(header, HELLO)
        assert masked == MASKED
        assert type(masked) is bytearray
        assert mask(header, HELLO + b"rest") == MASKED + b"rest"
        with pytest.raises(IndexError):
            mask(header, HELLO[:4])
        assert mask(SimpleNamespace(mask="", length=0), b"") == b""
    validator = sys.modules["geventwebsocket.websocket"].Utf8Validator()
    assert validator.validate(b"a") == (True, True, 1, 1)


def test_websocket_client():
    patch.websocket_client()
    mask = sys.modules["websocket._abnf"]._mask
    assert mask(array("B", KEY), array("B", HELLO)) == MASKED
    validate = sys.modules["websocket._utils"]._validate_utf8
    assert validate("한국어".encode()) is True
    assert validate("한국어".encode()[:-1]) is True, "as theirs, which leaves that to the decoder"
    assert validate(b"\xed\xa0\x80") is False
    assert validate(b"a\xff") is False


# The table of hosts


def test_each_package_stands_in_one_row():
    """And under the name of PEP 503, by which it is looked up."""
    names = [name for host in HOSTS for name in (host.distribution, *host.carries)] + list(UNSUITABLE)
    assert len(set(names)) == len(names)
    assert [canonical(name) for name in names] == names
    for host in HOSTS:
        assert all(host_named(name) is host for name in (host.name, host.distribution, *host.carries))


@pytest.mark.parametrize(
    ("version", "tested"),
    [
        ("6.4", True),
        ("6.4.0", True),
        ("6.5.7", True),
        ("6.6", True),
        ("6.6.9", True),
        ("6.6.1.post1", True),
        ("6.3.3", False),
        ("6.7", False),
        ("6.7b1", False),
        ("7.0", False),
        ("5.9", False),
        ("unknown", False),
    ],
)
def test_versions(version, tested):
    assert Host("x", "x", "6.4", "6.6", "").was_tested(version) is tested


def test_one_version():
    host = Host("x", "x", "0.10.1", "0.10.1", "")
    assert host.tested == "0.10.1"
    assert [host.was_tested(version) for version in ("0.10", "0.10.1", "0.10.1.1", "0.10.2")] == [
        False,
        True,
        True,
        False,
    ]
