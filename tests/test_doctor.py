"""``wsfast doctor``, for installed and missing packages, by metadata that the tests make up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wsfast import patch
from wsfast.cli import doctor, info, main
from wsfast.patch.hosts import HOSTS, installed_version


@pytest.fixture
def installed(monkeypatch):
    """The versions of the packages that are installed, for a test to fill."""
    versions = {}
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    return versions


@pytest.fixture
def codec(monkeypatch):
    """Set the codec in use: "native", "fallback" or "broken"."""
    real = info.collect()

    def use(name):
        reason = None if name == "native" else "because"
        monkeypatch.setattr(doctor, "collect", lambda: {**real, "codec": name, "fallback_reason": reason})

    use("native")
    return use


def report(capsys, *arguments, code=0):
    assert main(["doctor", *arguments]) == code
    return capsys.readouterr().out


def test_no_host_is_installed(installed, codec, capsys):
    out = report(capsys)
    assert "None of the packages that wsfast plugs into is installed here." in out
    assert f"not installed: {', '.join(host.distribution for host in HOSTS)}\n" in out
    assert "native codec" in out


def test_hosts_that_are_installed(installed, codec, capsys):
    installed.update({"uvicorn": "0.54.0", "tornado": "6.5.2"})
    lines = report(capsys).splitlines()
    heading = next(line for line in lines if line.startswith("package"))
    assert heading.split()[:3] == ["package", "installed", "tested"]
    uvicorn = next(line for line in lines if line.startswith("uvicorn"))
    assert uvicorn.split()[1] == "0.54.0"
    assert uvicorn.endswith("uvicorn --ws wsfast.uvicorn:WebSocketProtocol app:app")
    tornado = next(line for line in lines if line.startswith("tornado"))
    assert "6.5.2      6.4 to 6.6" in tornado
    assert tornado.endswith("  wsfast.patch.tornado()")
    assert heading.index("tested") == tornado.index("6.4 to 6.6")
    absent = next(line for line in lines if line.startswith("not installed:"))
    assert "uvicorn" not in absent
    assert "ws4py" in absent
    assert not any(line.startswith("  ") for line in lines), "nothing to note"


def test_all_hosts_are_installed(installed, codec, capsys):
    installed.update({host.distribution: host.oldest for host in HOSTS})
    out = report(capsys)
    assert "not installed" not in out
    assert all(line in out for host in HOSTS for line in host.use.split("\n"))


def test_both_roles_of_websockets(installed, codec, capsys):
    """Each is a line that can be typed."""
    installed.update({"websockets": "16.0"})
    heading, server, client = report(capsys).splitlines()[2:5]
    assert server.split()[-1] == "create_connection=wsfast.websockets.ServerConnection)"
    assert client.strip() == "connect(..., create_connection=wsfast.websockets.ClientConnection)"
    assert server.index("serve(") == client.index("connect(") == heading.index("to use")


def test_packages_that_stand_on_a_host(installed, codec, capsys):
    installed.update({"uvicorn": "0.54.0", "fastapi": "0.130", "starlette": "0.50", "daphne": "4.2"})
    out = report(capsys)
    assert "  fastapi, starlette get wsfast by way of uvicorn\n" in out
    assert "daphne" not in out, "its host is not installed"
    installed.update({"autobahn": "26.10"})
    assert "  daphne gets wsfast by way of autobahn\n" in report(capsys)


def test_where_a_patch_belongs(installed, codec, capsys):
    """Said if the table has one."""
    installed.update({"uvicorn": "0.54.0"})
    assert "wsfast.unpatch" not in report(capsys)
    installed.update({"hypercorn": "0.18.0"})
    assert "wsfast.unpatch() undoes it" in report(capsys)


def test_versions_that_were_not_tested(installed, codec, capsys):
    installed.update({"uvicorn": "0.1", "tornado": "7.0"})
    out = report(capsys)
    assert "  uvicorn 0.1 was not tested with wsfast: try it out first\n" in out
    assert "  tornado 7.0 was not tested with wsfast: the patch needs force=True\n" in out


def test_the_fallback_codec(installed, codec, capsys):
    installed.update({"tornado": "6.6.1", "ws4py": "0.6.0"})
    codec("fallback")
    out = report(capsys)
    assert "fallback codec" in out
    assert "  why: because\n" in out
    assert "  tornado: its own C is faster than the fallback codec; leave it as it is\n" in out
    assert "  ws4py:" not in out


def test_a_broken_extension(installed, codec, capsys):
    codec("broken")
    assert "because" in report(capsys, code=1)


def test_json(installed, codec, capsys):
    installed.update({"tornado": "7.0"})
    told = json.loads(report(capsys, "--json"))
    assert told["codec"] == "native"
    hosts = {host["package"]: host for host in told["hosts"]}
    assert len(hosts) == len(HOSTS)
    assert hosts["tornado"] == {
        "package": "tornado",
        "installed": "7.0",
        "tested": {"oldest": "6.4", "newest": "6.6"},
        "was_tested": False,
        "use": "wsfast.patch.tornado()",
        "notes": ["tornado 7.0 was not tested with wsfast: the patch needs force=True"],
    }
    assert hosts["ws4py"]["installed"] is None
    assert hosts["ws4py"]["notes"] == []


def test_metadata_is_read():
    assert installed_version("pytest") == pytest.__version__
    assert installed_version("no-package-has-this-name") is None


def test_what_it_says_to_type_exists():
    for host in HOSTS:
        if host.use.startswith("wsfast.patch."):
            name = host.use.removeprefix("wsfast.patch.").removesuffix("()")
            assert callable(getattr(patch, name))


def test_no_host_is_imported():
    code = (
        "import sys; from wsfast.cli import main; main(['doctor']);"
        "hosts = {'uvicorn', 'websockets', 'wsproto', 'tornado', 'autobahn', 'ws4py', 'websocket', 'aiohttp', 'h11'};"
        "print(sorted(hosts & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_page_about_drop_ins_says_the_same():
    page = Path(__file__).parent.parent.joinpath("docs", "drop-in.md").read_text(encoding="utf-8")
    for host in HOSTS:
        assert f"\n| {host.distribution} | {host.tested} |" in page
        assert host.use.partition("=")[0] in page
