"""``wsfast.wsaccel.install()``: where it puts itself, what it refuses, and that it can be undone.

Each test is a process of its own, as it is about what is imported first.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run(code):
    """Run ``code`` in a new process; fail with its output if it fails."""
    program = "import sys\nfrom wsfast import wsaccel as ours\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_changes_nothing_and_imports_the_codec_only():
    run(
        """
        assert not [name for name in sys.modules if name.partition(".")[0] in ("wsaccel", "websocket", "h11")]
        import wsaccel
        assert wsaccel is not ours
        """
    )


def test_websocket_client_finds_it():
    run(
        """
        ours.install()
        import websocket
        from websocket import _abnf, _utils
        assert _abnf.XorMaskerSimple is ours.xormask.XorMaskerSimple
        assert _utils.Utf8Validator is ours.utf8validator.Utf8Validator
        assert _abnf.ABNF.mask(b"\\x01\\x02\\x03\\x04", b"12345") == b"00004"
        assert _utils.validate_utf8("한".encode()) is True
        assert _utils.validate_utf8(b"\\xed\\xa0\\x80") is False
        """
    )


def test_every_way_to_import_it():
    run(
        """
        ours.install()
        import wsaccel
        import wsaccel.xormask
        import wsaccel.utf8validator as utf8validator
        from wsaccel import xormask
        from wsaccel.xormask import XorMaskerSimple
        assert wsaccel is ours and wsaccel.xormask is xormask is ours.xormask
        assert utf8validator is ours.utf8validator
        assert XorMaskerSimple is ours.xormask.XorMaskerSimple
        """
    )


def test_twice_is_once_and_it_can_be_undone_and_done_again():
    run(
        """
        names = ("wsaccel", "wsaccel.xormask", "wsaccel.utf8validator")
        for _ in range(2):
            ours.uninstall()
            ours.install()
            ours.install()
            import websocket
            assert [sys.modules[name].__name__.partition(".")[0] for name in names] == ["wsfast"] * 3
            ours.uninstall()
            ours.uninstall()
            assert not [name for name in names if name in sys.modules]
        import wsaccel
        assert wsaccel is not ours
        assert sys.modules["wsfast.wsaccel"] is ours
        """
    )


@pytest.mark.parametrize("name", ["wsaccel", "wsaccel.xormask", "wsaccel.utf8validator"])
def test_refuses_when_the_real_one_is_imported(name):
    run(
        f"""
        import {name}
        before = dict(sys.modules)
        try:
            ours.install()
        except RuntimeError as error:
            assert "wsfast.wsaccel.install() before" in str(error)
        else:
            raise AssertionError("installed")
        assert sys.modules == before
        """
    )


def test_refuses_when_websocket_client_was_imported_and_says_what_to_do():
    for hidden in ("", "sys.modules['wsaccel'] = None"):
        run(
            f"""
            {hidden}
            import websocket
            for name in [name for name in sys.modules if name.partition(".")[0] == "wsaccel"]:
                del sys.modules[name]
            before = dict(sys.modules)
            try:
                ours.install()
            except RuntimeError as error:
                assert "before the first import of websocket" in str(error), error
                assert "wsfast.patch.websocket_client()" in str(error), error
            else:
                raise AssertionError("installed")
            assert sys.modules == before
            """
        )


def test_uninstall_refuses_to_take_out_what_is_not_ours():
    run(
        """
        ours.install()
        sys.modules["wsaccel.xormask"] = sys
        try:
            ours.uninstall()
        except RuntimeError as error:
            assert "wsaccel.xormask" in str(error)
        else:
            raise AssertionError("uninstalled")
        assert sys.modules["wsaccel"] is ours
        assert sys.modules["wsaccel.xormask"] is sys
        """
    )
