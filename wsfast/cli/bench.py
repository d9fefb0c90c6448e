"""``wsfast bench``: the native codec against the fallback, side by side in one run.

Two rules. A result is checked before it is timed. And figures are for comparing. The codecs take turns, sample by
sample, and the best sample counts, because other work of the machine can only make a sample slower.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from ..events import Event, Role
from . import info
from .outcome import FAILURE, OK, CommandError

__all__ = ["CASES", "Case", "run"]

_KEY: Final = b"\x37\xfa\x21\x3d"  # The masking key of the examples in RFC 6455 5.7.
_SAMPLE_SECONDS: Final = (
    0.002  # Seconds: many times the clock's resolution, and so short that some samples are undisturbed.
)
_MIN_ROUNDS: Final = 3
_COLUMNS: Final = ("native ns", "fallback ns", "ratio", "native GB/s")

Operation = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """An operation that both codecs have.

    ``prepare(codec)`` checks the result of an operation, and returns the operation to time. One call of it handles
    ``n_messages`` of ``size`` bytes of payload each; times are per message.
    """

    name: str
    n_messages: int
    size: int
    prepare: Callable[[ModuleType], Operation]


@dataclass
class _Subject:
    """One case with one codec: the number of calls in a sample, and the best sample."""

    operation: Operation
    n_calls: int = 1
    best: float = field(default=math.inf)  # Seconds per call.

    def sample(self) -> None:
        operation = self.operation
        calls = range(self.n_calls)
        start = time.perf_counter()
        for _ in calls:
            operation()
        self.best = min(self.best, (time.perf_counter() - start) / self.n_calls)

    def calibrate(self) -> None:
        self.sample()
        self.sample()  # The first call is seldom like the others.
        self.n_calls = max(1, min(100_000, int(_SAMPLE_SECONDS / self.best)))


def run(arguments: argparse.Namespace) -> int:
    codecs = _codecs()
    facts = info.collect()
    print(f"wsfast {facts['wsfast']}, {facts['python']}, {facts['cpu']}, {facts['platform']}")
    for codec in codecs.values():
        print(f"{codec.IMPLEMENTATION}: kernels {codec.KERNEL}")
    if "native" not in codecs:
        print(f"no native codec to compare with: {facts['fallback_reason']}")
    sys.stdout.flush()
    subjects = {case.name: {name: _subject(case, codec) for name, codec in codecs.items()} for case in CASES}
    with _quiet_interpreter():
        n_rounds = _measure([each for pair in subjects.values() for each in pair.values()], arguments.seconds)
    _print_table(subjects)
    print(f"\nper message; the best of {n_rounds} samples, taken in turns")
    return OK


def _codecs() -> dict[str, ModuleType]:
    codecs = {}
    for name in ("native", "fallback"):
        try:
            codecs[name] = importlib.import_module(f"wsfast.{name}")
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            raise CommandError(f"the {name} codec does not load: {error}") from None
    return codecs


def _subject(case: Case, codec: ModuleType) -> _Subject:
    try:
        subject = _Subject(case.prepare(codec))
    except _WrongResult:
        raise CommandError(f"{codec.IMPLEMENTATION}: {case.name}: the result is wrong", FAILURE) from None
    subject.calibrate()
    return subject


class _WrongResult(Exception):
    """An operation gave a wrong result."""


def _check(right: bool) -> None:
    if not right:
        raise _WrongResult


@contextmanager
def _quiet_interpreter() -> Iterator[None]:
    """Switch garbage collection off: a collection inside a sample would add the cost of other objects."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _measure(subjects: list[_Subject], seconds: float) -> int:
    """Sample all subjects in turn for ``seconds``; return the number of samples of each."""
    progress = sys.stderr if sys.stderr.isatty() else None
    start = time.perf_counter()
    n_rounds = 0
    while True:
        for subject in subjects:
            subject.sample()
        n_rounds += 1
        elapsed = time.perf_counter() - start
        if progress is not None:
            progress.write(f"\rmeasuring: {min(elapsed / seconds, 1):4.0%} ")
            progress.flush()
        # Stop if one more round would end too late.
        if n_rounds >= _MIN_ROUNDS and elapsed + elapsed / n_rounds > seconds:
            break
    if progress is not None:
        progress.write("\r\x1b[K")
        progress.flush()
    return n_rounds


def _print_table(subjects: dict[str, dict[str, _Subject]]) -> None:
    width = max(len(case.name) for case in CASES)
    print("\n" + " " * width + "".join(f"  {column:>12}" for column in _COLUMNS))
    for case in CASES:
        seconds = {name: each.best / case.n_messages for name, each in subjects[case.name].items()}
        native, fallback = seconds.get("native"), seconds["fallback"]
        cells = [
            "-" if native is None else f"{native * 1e9:,.1f}",
            f"{fallback * 1e9:,.1f}",
            "-" if native is None else f"{fallback / native:,.1f}x",
            "-" if native is None else f"{case.size / native / 1e9:,.2f}",
        ]
        print(f"{case.name:{width}}" + "".join(f"  {cell:>12}" for cell in cells))


# The cases


def _frame(codec: ModuleType, payload: bytes | str) -> bytes:
    encoder = codec.FrameEncoder(Role.CLIENT, random_bytes=lambda _: _KEY)
    frame: bytes = encoder.message(payload)
    return frame


def _decode(name: str, payload: bytes | str, n_frames: int) -> Case:
    def prepare(codec: ModuleType) -> Operation:
        chunk = _frame(codec, payload) * n_frames
        feed: Callable[[bytes], list[Event]] = codec.MessageDecoder(Role.SERVER).feed
        _check(feed(chunk) == [payload] * n_frames)
        return lambda: feed(chunk)

    return Case(f"decode {name}, {n_frames} a feed", n_frames, _size(payload), prepare)


def _encode(name: str, payload: bytes | str, role: Role) -> Case:
    def prepare(codec: ModuleType) -> Operation:
        encode: Callable[[Any], bytes] = codec.FrameEncoder(role).message
        peer = Role.CLIENT if role is Role.SERVER else Role.SERVER
        _check(codec.MessageDecoder(peer).feed(encode(payload)) == [payload])
        return lambda: encode(payload)

    return Case(f"encode {name}", 1, _size(payload), prepare)


def _mask(name: str, size: int) -> Case:
    def prepare(codec: ModuleType) -> Operation:
        data = bytes(index % 251 for index in range(4_096)) * (size // 4_096)
        masked = bytes(byte ^ _KEY[index % 4] for index, byte in enumerate(data[:4_096])) * (size // 4_096)
        apply_mask: Callable[[bytes, bytes], bytes] = codec.apply_mask
        _check(apply_mask(data, _KEY) == masked)
        return lambda: apply_mask(data, _KEY)

    return Case(f"mask {name}", 1, size, prepare)


def _utf8(name: str, text: str) -> Case:
    def prepare(codec: ModuleType) -> Operation:
        data = text.encode()
        valid: Callable[[bytes], bool] = codec.utf8_valid
        _check(valid(data) and not valid(data[:-1] + b"\xff"))
        return lambda: valid(data)

    return Case(f"utf8 {name}", 1, _size(text), prepare)


def _size(payload: bytes | str) -> int:
    return len(payload.encode() if isinstance(payload, str) else payload)


def _ascii(size: int) -> str:
    return ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]


def _korean(size: int) -> str:
    text = "안녕하세요, 웹소켓으로 이야기합니다. "
    data = (text.encode() * (size // len(text.encode()) + 1))[:size]
    return data.decode(errors="ignore")


CASES: Final = (
    _decode("text 32 B", _ascii(32), 64),
    _decode("text 32 B", _ascii(32), 1),
    _decode("text 1 KiB", _ascii(1_024), 16),
    _decode("Korean 1 KiB", _korean(1_024), 16),
    _decode("binary 125 B", bytes(125), 16),
    _decode("binary 16 KiB", bytes(16_384), 1),
    _encode("text 32 B, server", _ascii(32), Role.SERVER),
    _encode("Korean 1 KiB, server", _korean(1_024), Role.SERVER),
    _encode("binary 125 B, client", bytes(125), Role.CLIENT),
    _encode("binary 16 KiB, client", bytes(16_384), Role.CLIENT),
    _mask("16 KiB", 16_384),
    _mask("1 MiB", 1_048_576),
    _utf8("16 KiB ASCII", _ascii(16_384)),
    _utf8("16 KiB Korean", _korean(16_384)),
)
