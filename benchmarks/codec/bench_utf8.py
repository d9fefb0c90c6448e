"""Validation of UTF-8 (RFC 6455 8.1)."""

import pytest

from ..common.cases import KIB, TEXTS, TIMING, utf8_case, utf8_pieces_case

SIZES = (32, 125, KIB, 16 * KIB)

pytestmark = pytest.mark.benchmark(**TIMING)


@pytest.mark.parametrize(
    "case", [utf8_case(kind, size) for kind in TEXTS for size in SIZES], ids=lambda case: case.name
)
def test_utf8_valid(run, case):
    run(case)


@pytest.mark.parametrize(
    "case", [utf8_pieces_case(kind, 16 * KIB, KIB + 1) for kind in TEXTS], ids=lambda case: case.name
)
def test_utf8_in_pieces(run, case):
    run(case)
