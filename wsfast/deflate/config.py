"""The settings of compression, and the engines that deflate and inflate (RFC 7692 7.1)."""

from __future__ import annotations

import importlib
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

__all__ = ["Compression", "Deflate"]

DEFAULT_WINDOW_BITS: Final = 12
"""Default window for deflating, in bits: a context takes 38 KiB, against 262 KiB with zlib's own defaults."""

MIN_WINDOW_BITS: Final = 8
MAX_WINDOW_BITS: Final = 15

_Z_DEFLATED: Final = 8

_ENGINES: Final = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}


@dataclass(frozen=True, slots=True)
class Deflate:
    """Settings for ``compression=``; the four parameters of RFC 7692 7.1 keep their names.

    - ``server_no_context_takeover``, ``client_no_context_takeover``: that endpoint begins each message anew. Messages
      shrink less, and no context takes memory between messages. Either side may ask for either.
    - ``server_max_window_bits``, ``client_max_window_bits``: the base-2 logarithm of the window with which this
      endpoint deflates, 8 to 15. None is 12. But a client with None sets no limit for the server, because many
      servers know no limit. A server always keeps to the client's limit; it can limit the clients that offer it.
      With 8 zlib itself deflates, whichever ``engine`` is set.
    - ``level``: of compression; None is the engine's default. ``mem_level``: 1 to 9; more memory gives speed and ratio.
    - ``threshold``: smaller messages, in bytes, are sent uncompressed unless ``send`` says otherwise. Below 128 bytes
      deflating takes longer than all the rest, and without context takeover it saves next to nothing.
    - ``max_ratio``: the largest inflated size, as a multiple of the compressed size, of a message over 1 MiB. None is
      no limit: an honest white image has a ratio of 1000. ``max_message_size`` limits the inflated message in any case.
    - ``engine``: ``"zlib"``; ``"zlib-ng"`` or ``"isal"`` if that package is installed; or an object with zlib's
      ``compressobj`` and ``decompressobj``.

    Do not compress secrets together with data that an attacker may choose: sizes tell (RFC 7692 8).

    Raises:
        ValueError: a value is out of range, or no engine has this name.
        TypeError: a value has the wrong type.
        ImportError: the package of the engine is not installed.
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
        # The engine knows the range of its level. A wrong level fails here, and not later in a connection.
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
"""The values of ``compression=``: None is off, ``"deflate"`` is ``Deflate()``."""


def settings(compression: Compression) -> Deflate | None:
    """Return the ``Deflate`` for a value of ``compression=``, or None for off.

    Raises:
        ValueError: another value.
    """
    if compression is None or isinstance(compression, Deflate):
        return compression
    if compression == "deflate":
        return _default()
    raise ValueError(f'compression is {compression!r}, not None, "deflate" or a Deflate')


def load_engine(engine: Any) -> Any:
    """Return the module of the engine with this name; any other object is returned unchanged.

    Raises:
        ValueError: no engine has this name.
        ImportError: the package of the engine is not installed.
    """
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
    """Tell whether zlib had no memory for its window: Z_MEM_ERROR is -4, and is no judgement of the data.

    zlib and zlib-ng put the number into the text. ISA-L allocates nothing; its -4 is about a header, and raw streams
    have none.
    """
    return str(error).startswith("Error -4 ")


def make_compressor(engine: Any, config: Deflate, bits: int) -> Any:
    """Return a compressor with a window of ``bits``: no distance in its output is longer than two to that power."""
    level = config.level
    if bits == MIN_WINDOW_BITS:
        # For a raw stream zlib takes at least 9 bits. Its longest distance is the window minus 262 bytes (MIN_LOOKAHEAD
        # in its deflate.h): 250 bytes of 512. zlib-ng does the same. ISA-L uses all 512 bytes.
        engine, bits = zlib, MIN_WINDOW_BITS + 1
        level = None if level is None else max(-1, min(level, zlib.Z_BEST_COMPRESSION))
    # Negative bits: a raw stream, without zlib's header and checksum (RFC 1951).
    if level is None:
        return engine.compressobj(method=_Z_DEFLATED, wbits=-bits, memLevel=config.mem_level)
    return engine.compressobj(level, _Z_DEFLATED, -bits, config.mem_level)
