"""The Autobahn cases, run by kosoku in a process of their own. Only ``run.py`` starts this.

    suite.py server RESULTS URI CASE...     run the cases against the server at URI
    suite.py client RESULTS CASE...         serve the cases to a client; the first line of output is the port

Each result is one line of JSON in the file RESULTS, written when it is known. A suite that is ended keeps what it had.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver
from kosoku._caseindex import initialize_shims

# The facts of a result that a reader of a failure needs.
FACTS = (
    "behavior",
    "behavior_close",
    "result",
    "result_close",
    "expected",
    "received",
    "remote_close_code",
    "remote_close_reason",
    "was_not_clean_reason",
    "wirelog",
)


def mend_groups_12_and_13() -> None:
    """kosoku 0.1.0 gives a case short messages as ``str``, a character an octet, but these groups hash ``bytes``."""
    initialize_shims()
    import case12_x_x

    for case in (*case12_x_x.Case12_X_X, *case12_x_x.Case13_X_X):
        original = case.onMessage

        def with_octets(self: Any, message: Any, binary: bool, original: Any = original) -> None:
            original(self, message.encode("latin-1") if isinstance(message, str) else message, binary)

        case.onMessage = with_octets


def plain(value: object) -> object:
    """JSON has no octets and no labels."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return getattr(value, "value", None) or repr(value)


def note(file: TextIO, results: Sequence[Any]) -> None:
    for result in results:
        line = {"case": result.case_id, **{fact: getattr(result, fact) for fact in FACTS}}
        file.write(json.dumps(line, default=plain) + "\n")
    file.flush()


async def test_server(file: TextIO, uri: str, cases: Sequence[str]) -> None:
    for case in cases:
        try:
            note(file, await run_fuzzingclient(uri, [case]))
        except FailureError as failure:
            note(file, failure.results)


async def test_client(file: TextIO, cases: Sequence[str]) -> None:
    async with run_fuzzingserver(cases, port=0) as server:
        print(server.port, flush=True)
        try:
            note(file, await server.get_result())
        except FailureError as failure:
            note(file, failure.results)


if __name__ == "__main__":
    mend_groups_12_and_13()
    role, path, *rest = sys.argv[1:]
    with open(path, "w", encoding="utf-8") as results:
        asyncio.run(
            test_server(results, rest[0], rest[1:]) if role == "server" else test_client(results, rest)
        )
    # All is written. kosoku 0.1.0 can abort while the interpreter ends.
    os._exit(0)
