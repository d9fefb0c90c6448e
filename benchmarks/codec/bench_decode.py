"""Decoding frames into messages (RFC 6455 5): header, unmasking, UTF-8, the object."""

import pytest

from wsfast.events import Role

from ..common.cases import KIB, TEXTS, TIMING, Case, decode_case, decode_pieces_case

SIZES = (8, 32, 125, KIB, 16 * KIB, KIB * KIB)
MANY = 64

pytestmark = pytest.mark.benchmark(**TIMING)


def cases_of(kind: str, role: Role = Role.SERVER) -> list[Case]:
    # With 64 messages of 1 MiB, a feed of 64 MiB would measure the machine's memory.
    return [
        decode_case(kind, size, n_frames, role)
        for size in SIZES
        for n_frames in (1, MANY)
        if size * n_frames < 4 * KIB * KIB
    ]


@pytest.mark.parametrize("case", cases_of("ASCII"), ids=lambda case: case.name)
def test_text(run, case):
    run(case)


@pytest.mark.parametrize("case", cases_of("binary"), ids=lambda case: case.name)
def test_binary(run, case):
    run(case)


@pytest.mark.parametrize("case", cases_of("ASCII", Role.CLIENT), ids=lambda case: case.name)
def test_text_for_a_client(run, case):
    run(case)


@pytest.mark.parametrize(
    "case",
    [decode_case(kind, size, MANY) for kind in TEXTS if kind != "ASCII" for size in (32, 125, KIB)],
    ids=lambda case: case.name,
)
def test_other_texts(run, case):
    run(case)


@pytest.mark.parametrize(
    "case",
    [decode_pieces_case(kind, KIB * KIB, 64 * KIB) for kind in ("ASCII", "Korean", "binary")],
    ids=lambda case: case.name,
)
def test_in_pieces(run, case):
    run(case)
