"""Masking (RFC 6455 5.3)."""

import pytest

from ..common.cases import KIB, TIMING, mask_case, mask_inplace_case

SIZES = (8, 32, 125, KIB, 16 * KIB, KIB * KIB)

pytestmark = pytest.mark.benchmark(**TIMING)


@pytest.mark.parametrize("case", [mask_case(size) for size in SIZES], ids=lambda case: case.name)
def test_apply_mask(run, case):
    run(case)


@pytest.mark.parametrize("case", [mask_inplace_case(size) for size in SIZES], ids=lambda case: case.name)
def test_mask_inplace(run, case):
    run(case)
