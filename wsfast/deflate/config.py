"""The settings of compression, and the engine that does it (RFC 7692 7.1)."""

from __future__ import annotations

import importlib
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

__all__ = ["Compression", "Deflate"]

DEFAULT_WINDOW_BITS: Final = 12
"""The window that we deflate with, unless told otherwise: a context takes 38 KiB, and 262 with zlib's own defaults."""

MIN_WINDOW_BITS: Final = 8
MAX_WINDOW_BITS: Final = 15

_Z_DEFLATED: Final = 8

_ENGINES: Final = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}


@dataclass(frozen=True, slots=True)
class Deflate:
    """Settings for ``compression=``; those of the four parameters of RFC 7692 7.1 have their names.

    - ``server_no_context_takeover``, ``client_no_context_takeover``: that endpoint begins each message anew. It costs
      ratio and saves the memory of a context between messages. Either side may ask for either.
    - ``server_max_window_bits``, ``client_max_window_bits``: the base-2 logarithm of the window that this endpoint
      deflates with, 8 to 15. None is 12; but a client with None leaves the server its window, as many servers know no
      limit. A server always keeps to what it is asked for; it can limit those clients that offer it.
      For 8 zlib itself deflates, whatever ``engine`` is.
    - ``level``: of compression, None is the engine's default. ``mem_level``: 1 to 9, memory for speed and ratio.
    - ``threshold``: bytes below which a message is sent as it is, where ``send`` does not say otherwise. Below 128
      deflating takes longer than all the rest, and without context takeover saves next to nothing.
    - ``max_ratio``: how many times its compressed size a message may have once it is larger than 1 MiB; None is no
      limit, as a white image has 1000 and is honest. ``max_message_size`` limits the inflated message in any case.
    - ``engine``: ``"zlib"``; ``"zlib-ng"`` or ``"isal"`` where that package is installed; or an object with
      zlib's ``compressobj`` and ``decompressobj``.

    Secrets and what an attacker may choose should not be compressed together: sizes tell (RFC 7692 8).

    Raises ``ValueError`` or ``TypeError``, and ``ImportError`` when the engine is not installed.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    level: int | None = None
    mem_level: int = 5
    threshold: int = 128
    max_ratio: int | None = None
    engine: Any = field(default="zlib", hash=False)

    def __post_init__(self) -> None:
        _check_int("server_max_window_bits", self.server_max_window_bits, MIN_WINDOW_BITS, MAX_WINDOW_BITS)
        _check_int("client_max_window_bits", self.client_max_window_bits, MIN_WINDOW_BITS, MAX_WINDOW_BITS)
        _check_int("threshold", self.threshold, 0)
        _check_int("max_ratio", self.max_ratio, 1)
        if self.mem_level is None or self.threshold is None:
            raise TypeError("mem_level and threshold are numbers")
        # The level's range is the engine's: whatever is wrong is heard here, and not from a connection.
        engine = load_engine(self.engine)
        if not hasattr(engine, "compressobj") or not hasattr(engine, "decompressobj"):
            raise TypeError(
                f"engine is {self.engine!r}, not a name nor an object with compressobj and decompressobj"
            )
        try:
            make_compressor(engine, self, DEFAULT_WINDOW_BITS)
        except (ValueError, engine_error(engine)) as error:
            raise ValueError(
                f"{self.engine} refuses level {self.level} with mem_level {self.mem_level}: {error}"
            ) from None


Compression: TypeAlias = Deflate | Literal["deflate"] | None
"""What ``compression=`` takes: None is off, ``"deflate"`` is ``Deflate()``."""


def settings(compression: Compression) -> Deflate | None:
    """Return what ``compression=`` stands for; raise ``ValueError`` for what it cannot be."""
    if compression is None or isinstance(compression, Deflate):
        return compression
    if compression == "deflate":
        return _default()
    raise ValueError(f'compression is {compression!r}, not None, "deflate" or a Deflate')


def load_engine(engine: Any) -> Any:
    """Return the module of the engine with this name; anything else than a name as it is."""
    if not isinstance(engine, str):
        return engine
    if engine not in _ENGINES:
        raise ValueError(f"engine is {engine!r}, not one of {', '.join(_ENGINES)}")
    try:
        return importlib.import_module(_ENGINES[engine])
    except ModuleNotFoundError as missing:
        raise ImportError(
            f"engine {engine!r} needs the package {engine}: pip install 'wsfast[{engine}]'"
        ) from missing


@lru_cache
def _default() -> Deflate:
    return Deflate()


def _check_int(name: str, value: int | None, low: int, high: int | None = None) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, not an int")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} is {value}, not {low} " + ("or more" if high is None else f"to {high}"))


def engine_error(engine: Any) -> type[Exception]:
    error: type[Exception] = getattr(engine, "error", zlib.error)
    return error


def is_memory_error(error: Exception) -> bool:
    """Tell whether zlib had no memory for its window: Z_MEM_ERROR is -4, and says nothing about the data.

    zlib and zlib-ng name the number. ISA-L allocates nothing; its -4 is about a header that raw streams do not have.
    """
    return str(error).startswith("Error -4 ")


def make_compressor(engine: Any, config: Deflate, bits: int) -> Any:
    """Return what deflates with a window of ``bits``: no distance in its output is longer than two to that power."""
    level = config.level
    if bits == MIN_WINDOW_BITS:
        # zlib takes 9 bits or more for a raw stream. Its longest distance is the window less 262 bytes (MIN_LOOKAHEAD
        # in its deflate.h): 250 of 512. The same is true of zlib-ng. ISA-L uses all 512.
        engine, bits = zlib, MIN_WINDOW_BITS + 1
        level = None if level is None else max(-1, min(level, zlib.Z_BEST_COMPRESSION))
    # Below zero: a raw stream, without zlib's header and checksum (RFC 1951).
    if level is None:
        return engine.compressobj(method=_Z_DEFLATED, wbits=-bits, memLevel=config.mem_level)
    return engine.compressobj(level, _Z_DEFLATED, -bits, config.mem_level)
