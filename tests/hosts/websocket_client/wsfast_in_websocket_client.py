"""A pytest plug-in: websocket-client's own tests, unmodified, with ``wsfast.wsaccel.install()``.

``pytest -p wsfast_in_websocket_client``, with this folder on the path. At the end the run fails unless both our masks
and our validator were in use, with the codec that ``WSFAST_PURE`` asks for.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

import wsfast.codec
import wsfast.wsaccel
from wsfast.wsaccel import utf8validator, xormask

n_masked = 0
n_validated = 0


class XorMaskerSimple(xormask.XorMaskerSimple):
    """Ours, and counts."""

    def process(self, data: Any) -> bytes:
        global n_masked
        n_masked += 1
        return super().process(data)


class Utf8Validator(utf8validator.Utf8Validator):
    """Ours, and counts."""

    def validate(self, buf: Any) -> tuple[bool, bool, int, int]:
        global n_validated
        n_validated += 1
        return super().validate(buf)


wsfast.wsaccel.install()
xormask.XorMaskerSimple = XorMaskerSimple
utf8validator.Utf8Validator = Utf8Validator


def pytest_sessionfinish(session: pytest.Session) -> None:
    wanted = "fallback" if os.environ.get("WSFAST_PURE", "") not in ("", "0") else "native"
    if not n_masked or not n_validated or wanted != wsfast.codec.IMPLEMENTATION:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(
        f"wsfast ({wsfast.codec.IMPLEMENTATION} codec) masked {n_masked} payloads and validated {n_validated} texts"
    )
