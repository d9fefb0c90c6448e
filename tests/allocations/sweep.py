"""Run every operation of a codec with each of its allocations failing in turn: ``sweep.py CODEC FOLDER``.

FOLDER has the module ``failing``. An operation either raises ``MemoryError`` or gives what it should. A decoder or
encoder that raised either works on or refuses to, and in no case does the process end.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from wsfast.deflate import Deflate, Deflater, Inflater, accept
from wsfast.events import Opcode, Role

# Makes an operation anew, and what it is done with.
Make = Callable[[], tuple[Callable[[], Any], Any]]

KEY = b"\x01\x02\x03\x04"
TEXTS = [
    "hello",
    "héllo" * 100,
    "안녕" * 500,
    "😀" * 300,
    "안" * 7000,
    "a" * 20_000,
    "a" * 20_000 + "é",
    "😀" * 6000,
]
ENGINES = [
    engine
    for engine, module in {"zlib": "zlib", "zlib-ng": "zlib_ng", "isal": "isal"}.items()
    if importlib.util.find_spec(module)
]


def frame(opcode: int, payload: bytes, first: int = 0x80) -> bytes:
    size = len(payload)
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + size.to_bytes(2, "big")
        if size < 65536
        else b"\x7f" + size.to_bytes(8, "big")
    )
    return bytes([first | opcode]) + length + payload


def masked(opcode: int, payload: bytes) -> bytes:
    head = bytearray(frame(opcode, payload)[: -len(payload)])
    head[1] |= 0x80
    return bytes(head) + KEY + bytes(byte ^ KEY[pos & 3] for pos, byte in enumerate(payload))


def inflater(engine: str) -> Any:
    agreement = accept(["permessage-deflate; server_max_window_bits=15"], Deflate(engine=engine))
    assert agreement is not None
    return Inflater(Role.SERVER, agreement).inflate


def compressed(message: bytes) -> bytes:
    agreement = accept(["permessage-deflate; server_max_window_bits=15"], Deflate())
    assert agreement is not None
    fallback = importlib.import_module("wsfast.fallback")
    encoder = fallback.FrameEncoder(Role.CLIENT, deflate=Deflater(Role.CLIENT, agreement))
    return encoder.message(message, text=True, compress=True)


def operations(codec: ModuleType) -> dict[str, Make]:
    made: dict[str, Make] = {}

    def decoding(name: str, chunks: list[bytes], role: Role = Role.CLIENT, **options: Any) -> None:
        def make() -> tuple[Callable[[], Any], Any]:
            decoder = codec.MessageDecoder(role, **{key: value() for key, value in options.items()})

            def run() -> Any:
                events = [decoder.feed(chunk) for chunk in chunks]
                return events, decoder.failure, decoder.has_control

            return run, decoder

        made[f"decode {name}"] = make

    def frames(name: str, chunks: list[bytes], **options: Any) -> None:
        def make() -> tuple[Callable[[], Any], Any]:
            decoder = codec.FrameDecoder(Role.CLIENT, **options)
            return (lambda: ([decoder.feed(chunk) for chunk in chunks], decoder.failure)), decoder

        made[f"frames {name}"] = make

    def encoding(name: str, role: Role, encode: Callable[[Any], Any], deflate: bool = False) -> None:
        def make() -> tuple[Callable[[], Any], Any]:
            options = {}
            if deflate:
                agreement = accept(["permessage-deflate; server_max_window_bits=15"], Deflate())
                assert agreement is not None
                options["deflate"] = Deflater(role, agreement)
            encoder = codec.FrameEncoder(role, random_bytes=lambda size: KEY, **options)
            return (lambda: encode(encoder)), encoder

        made[f"encode {role.value} {name}"] = make

    def calling(name: str, run: Callable[[], Any]) -> None:
        made[name] = lambda: (run, None)

    for number, text in enumerate(TEXTS):
        data = text.encode()
        whole = frame(1, data)
        decoding(f"text {number}", [whole])
        decoding(f"text {number} twice", [whole * 2])
        decoding(f"masked text {number}", [masked(1, data)], Role.SERVER)
        decoding(f"text {number} as bytes", [whole], text=lambda: "bytes")
        cuts = [whole[:7], whole[7 : len(whole) // 2], whole[len(whole) // 2 :]]
        decoding(f"text {number} in pieces", cuts)
        decoding(f"text {number} in pieces as bytes", cuts, text=lambda: "bytes")
        decoding(f"text {number} in frames", [frame(1, data[:3], 0), frame(9, b"p") + frame(0, data[3:])])
        for engine in ENGINES:
            if number % 3 == 0:
                shrunk = compressed(data)
                decoding(
                    f"inflate {number} {engine}", [shrunk], Role.SERVER, inflate=lambda e=engine: inflater(e)
                )
        for role in Role:
            encoding(f"text {number}", role, lambda e, text=text: e.message(text))
            encoding(f"bytes as text {number}", role, lambda e, data=data: e.message(data, text=True))
            encoding(
                f"deflated {number}", role, lambda e, text=text: e.message(text, compress=True), deflate=True
            )
        calling(f"utf8_valid {number}", lambda data=data: codec.utf8_valid(data))
        calling(f"apply_mask {number}", lambda data=data: codec.apply_mask(data, KEY))
        calling(f"mask_inplace {number}", lambda data=data: codec.mask_inplace(bytearray(data), KEY))

        def validate(data: bytes = data) -> Any:
            validator = codec.Utf8Validator()
            return validator.feed(data[:5]), validator.feed(data[5:]), validator.complete

        calling(f"validate {number}", validate)

    decoding("binary", [frame(2, bytes(100)), frame(2, bytes(100_000))])
    decoding("control frames", [frame(9, b"ping") + frame(10, b"") + frame(8, b"\x03\xe8" + "안녕".encode())])
    faulty = {
        "close of one byte": frame(8, b"\x03"),
        "close code": frame(8, b"\x03\xed"),
        "close reason": frame(8, b"\x03\xe8\xff"),
        "bits": frame(1, b"", 0xF0),
        "opcode": frame(3, b""),
        "mask": masked(1, b"a"),
        "fragmented ping": frame(9, b"", 0),
        "long ping": frame(9, bytes(126)),
        "continuation": frame(0, b""),
        "unfinished": frame(1, b"", 0) + frame(1, b""),
        "length": b"\x82\x7e\x00\x01",
        "top bit": b"\x82\x7f\x80" + bytes(7),
        "size": b"\x82\x7f" + (2**40).to_bytes(8, "big"),
        "utf-8": frame(1, b"\xff"),
        "utf-8 in pieces": frame(1, b"a\xe2", 0) + frame(0, b"\xff" * 100),
    }
    for name, stream in faulty.items():
        decoding(f"fault {name}", [b"\x81\x01a" + stream])
        frames(f"fault {name}", [b"\x81\x01a" + stream])
    decoding("too many fragments", [frame(1, b"", 0) + frame(0, b"", 0)], max_fragments=lambda: 1)
    for engine in ENGINES:
        decoding(
            f"inflate noise {engine}", [frame(2, b"\xff" * 50, 0xC0)], inflate=lambda e=engine: inflater(e)
        )
    stream = frame(1, b"a" * 1000, 0) + frame(9, b"p") + frame(0, b"b" * 1000)
    frames("whole", [stream])
    frames("in pieces", [stream[:500], stream[500:1500], stream[1500:]])
    frames("partial", [stream[:500], stream[500:1500], stream[1500:]], partial=True)

    def received(payload: bytes, opcode: int) -> Make:
        def make() -> tuple[Callable[[], Any], Any]:
            decoder = codec.MessageDecoder(Role.CLIENT, max_message_size=None)
            whole = frame(opcode, payload)

            def run() -> Any:
                events = decoder.feed(whole[:30])
                pos = 30
                while (view := decoder.get_buffer()) is not None:
                    size = min(len(view), 50_000)
                    view[:size] = whole[pos : pos + size]
                    events += decoder.buffer_updated(size)
                    pos += size
                return events + decoder.feed(whole[pos:]), decoder.failure

            return run, decoder

        return make

    made["receive binary in place"] = received(bytes(300_000), 2)
    made["receive ASCII in place"] = received(b"a" * 300_000, 1)
    made["receive text in place"] = received(("a" * 100_000 + "안" * 60_000).encode(), 1)

    for role in Role:
        encoding("binary", role, lambda e: e.message(bytes(1000)))
        encoding(
            "fragments", role, lambda e: (e.fragment("안"), e.fragment(b"\xec", text=True), e.fragment("a"))
        )
        encoding("control", role, lambda e: (e.ping(b"p"), e.pong(), e.close(), e.close(1000, "안녕")))
        encoding("frame", role, lambda e: e.frame(Opcode.BINARY, b"abc", False, True))
    calling("keys", lambda: len(codec.FrameEncoder(Role.CLIENT).ping()))
    calling("decoder", lambda: codec.MessageDecoder(Role.CLIENT, inflate=print, max_message_size=2**70).role)
    calling("frame decoder", lambda: codec.FrameDecoder(Role.CLIENT, partial=True).role)
    return made


def outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Exception as error:
        return type(error), str(error)


def is_of_cpython(error: BaseException) -> bool:
    """Tell whether CPython 3.11 forgot to say that it had no memory to call a function in Python."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (
        type(error) is SystemError and trace is not None and trace.tb_frame.f_code.co_filename.endswith(".py")
    )


def main(name: str, folder: str) -> None:
    sys.path.insert(0, folder)
    failing: Any = importlib.import_module("failing")
    codec = importlib.import_module(f"wsfast.{name}")
    gc.disable()
    n_failures = 0
    for operation, make in operations(codec).items():
        run, subject = make()
        expected = outcome(run)
        for n_fail in (1, 3):
            n = 0
            failed = 1
            while failed:
                n += 1
                run, subject = make()
                error: BaseException | None = None
                got: Any = None
                try:
                    failing.start(n, n_fail)
                    got = run()
                except BaseException as raised:
                    failed = failing.stop()
                    error = raised
                else:
                    failed = failing.stop()
                if error is None:
                    assert got == expected, (operation, n, got, expected)
                elif not isinstance(error, MemoryError) and not is_of_cpython(error):
                    # A mistake of the caller is told as ever. Nothing else may come out.
                    assert (type(error), str(error)) == expected, (operation, n, error)
                n_failures += failed
                # It goes on, or it refuses to.
                if hasattr(subject, "feed"):
                    after = outcome(lambda subject=subject: subject.feed(b"\x89\x00"))
                    assert type(after) is list or after[0] is RuntimeError, (operation, n, after)
                elif subject is not None and failed:
                    after = outcome(run)
                    assert after == expected or "deflated" in operation or "fragments" in operation, (
                        operation,
                        n,
                        after,
                    )
                del run, subject, error
    print(f"{n_failures} failures")


if __name__ == "__main__":
    main(*sys.argv[1:])
