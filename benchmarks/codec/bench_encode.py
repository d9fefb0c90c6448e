"""Encoding messages into frames (RFC 6455 5.2); a client draws a masking key for each (5.3)."""

import pytest

from wsfast.events import Role

from ..common.cases import KIB, TIMING, encode_case

SIZES = (8, 32, 125, KIB, 16 * KIB, KIB * KIB)

pytestmark = pytest.mark.benchmark(**TIMING)


@pytest.mark.parametrize(
    "case",
    [
        encode_case(kind, size, role)
        for role in Role
        for kind in ("ASCII", "Korean", "binary")
        for size in SIZES
    ],
    ids=lambda case: case.name,
)
def test_encode(run, case):
    run(case)
