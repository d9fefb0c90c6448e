"""The command line: ``wsfast demo``, ``connect``, ``echo``, ``info``, ``doctor`` and ``bench``.

This file has the arguments and the exit codes: 0 for success, 1 for failure, 2 for arguments that make no sense. An
error that the user can mend is a ``CommandError``: one line that says how, and no traceback. Each command is a module
of its own with ``run(arguments) -> exit code``. It is imported only when the user asks for it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .._version import __version__
from ..printable import shown
from .outcome import ERROR_SIZE, FAILURE, INTERRUPTED, OK, USAGE, CommandError

__all__ = ["FAILURE", "OK", "USAGE", "CommandError", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` (None: those of the process) and return the exit code."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return USAGE
    try:
        exit_code = _run(parsed)
        sys.stdout.flush()  # Here, so that its errors are handled below, and not at exit.
        return exit_code
    except CommandError as error:
        print(f"wsfast {parsed.command}: error: {shown(str(error), ERROR_SIZE)}", file=sys.stderr)
        return error.exit_code
    except ImportError as error:
        # h11 is missing, or the compiled extension does not load; ``info`` works without both.
        print(f"wsfast {parsed.command}: error: {error}; 'wsfast info' may tell more", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has closed the pipe. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE


def _run(parsed: argparse.Namespace) -> int:
    match parsed.command:
        case "demo":
            from . import demo

            return demo.run(parsed)
        case "connect":
            from . import connect

            return connect.run(parsed)
        case "echo":
            from . import echo

            return echo.run(parsed)
        case "info":
            from . import info

            return info.run(parsed)
        case "doctor":
            from . import doctor

            return doctor.run(parsed)
        case _:
            from . import bench

            return bench.run(parsed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wsfast",
        description="WebSocket (RFC 6455) tools on top of the wsfast codec.",
        epilog="'wsfast COMMAND -h' tells more about a command. "
        "Exit codes: 0 it went well, 1 it did not, 2 the arguments make no sense.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"wsfast {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_demo(commands)
    _add_connect(commands)
    _add_echo(commands)
    _add_info(commands)
    _add_doctor(commands)
    _add_bench(commands)
    return parser


_Commands = argparse._SubParsersAction  # The class has no public name.


def _command(
    commands: _Commands[argparse.ArgumentParser], name: str, summary: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {description}",
        epilog=epilog,
        allow_abbrev=False,
    )


def _add_demo(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "demo",
        "serve a page to try WebSockets in the browser",
        "The page has a chat between its visitors, and a connection to open, watch and close by hand. "
        "WebSockets are at /ws/chat (echo, and the chat for those who join it) and at /ws/echo (echo alone); "
        "/info tells as JSON which codec runs. Ctrl-C stops the server: clients get close code 1001.",
        "example: wsfast demo --port 8080",
    )
    _add_listening(command, port=8765)
    command.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin connect too, e.g. https://example.org behind a proxy (repeatable)",
    )
    _add_verbose(command)


def _add_connect(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "connect",
        "connect to a WebSocket server and exchange messages with it",
        "Each line that is typed, or piped in, is sent as a message. On a terminal messages show as "
        "'< text', binary ones as hexadecimal preview, and Ctrl-D closes the connection. With piped input "
        "only the messages go to standard output, one a line, binary ones as a whole in hexadecimal; "
        "everything else goes to standard error.",
        "example: printf 'hello\\n' | wsfast connect ws://127.0.0.1:8765/ws/echo",
    )
    command.add_argument("url", metavar="URL", help="ws://host[:port]/path or wss://host[:port]/path")
    command.add_argument(
        "--subprotocol",
        action="append",
        default=[],
        metavar="NAME",
        help="offer this subprotocol; repeat it for more, the preferred one first",
    )
    command.add_argument("--origin", metavar="ORIGIN", help="send this Origin header, as a browser would")
    command.add_argument(
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'NAME: VALUE'",
        help="send this header with the opening handshake (repeatable)",
    )
    command.add_argument(
        "--insecure", action="store_true", help="do not verify the server's certificate (for tests only)"
    )
    kind = command.add_mutually_exclusive_group()
    kind.add_argument("--text", action="store_true", help="send each line as a text message (the default)")
    kind.add_argument("--binary", action="store_true", help="send the bytes of each line as a binary message")
    command.add_argument(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help="after the end of piped input, stay until nothing was received for so long; 'inf': until the "
        "server closes (default: until as many messages came as were sent, or 2 quiet seconds)",
    )
    command.add_argument(
        "--compression", action="store_true", help="offer to compress messages (permessage-deflate, RFC 7692)"
    )
    _add_max_size(command)


def _add_echo(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "echo",
        "serve an echo: each message goes back as it came",
        "It answers on every path and to every origin, sends no pings of its own, and prints its URL when "
        "it listens. Ctrl-C stops it.",
        "example: wsfast echo --port 0",
    )
    _add_listening(command, port=9001)
    command.add_argument(
        "--compression",
        action="store_true",
        help="compress messages for clients that offer it (permessage-deflate, RFC 7692)",
    )
    _add_max_size(command)
    _add_verbose(command)


def _add_info(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "info",
        "tell which codec runs here, from where, with which kernels and versions",
        "If it is the fallback, it says why.",
        "WSFAST_PURE=1 in the environment forces the fallback.",
    )
    command.add_argument("--json", action="store_true", help="print JSON instead")


def _add_doctor(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "doctor",
        "tell which packages here can use wsfast, and the line to type for each",
        "It reads their metadata and imports none of them.",
        "example: wsfast doctor",
    )
    command.add_argument("--json", action="store_true", help="print JSON instead")


def _add_bench(commands: _Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands,
        "bench",
        "measure the native codec against the fallback",
        "Every result is checked first; then the two take turns, and the best of many short samples counts. "
        "Compare within one run only.",
        "example: wsfast bench --seconds 20",
    )
    command.add_argument(
        "--seconds",
        type=_positive_seconds,
        default=8.0,
        metavar="N",
        help="measure for about so long (default: %(default)g)",
    )


def _add_listening(command: argparse.ArgumentParser, port: int) -> None:
    command.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="HOST",
        help="address to listen on (default: %(default)s; 0.0.0.0: every IPv4 address of this machine)",
    )
    command.add_argument(
        "--port",
        type=_port,
        default=port,
        metavar="PORT",
        help="port to listen on (default: %(default)s; 0: any that is free)",
    )
    command.add_argument(
        "--uvloop",
        action=argparse.BooleanOptionalAction,
        help="run on uvloop, or on asyncio's own event loop (default: uvloop if it is installed)",
    )


def _add_max_size(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--max-size",
        type=_size,
        default=2**24,
        metavar="BYTES",
        help="largest message to accept, such as 65536, 64K or 16M (default: 16M)",
    )


def _add_verbose(command: argparse.ArgumentParser) -> None:
    command.add_argument("--verbose", action="store_true", help="log connections to standard error")


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to 65535")


def _size(text: str) -> int:
    digits, factor = text, 1
    if text[-1:].upper() in ("K", "M", "G"):
        digits, factor = text[:-1], 1024 ** (1 + "KMG".index(text[-1].upper()))
    if digits.isascii() and digits.isdigit() and int(digits) > 0:
        return int(digits) * factor
    raise argparse.ArgumentTypeError(f"{text!r} is not a size; give a number of bytes, such as 65536 or 16M")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if seconds >= 0:  # False for "nan".
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a time; give a number of seconds, such as 1.5")


def _positive_seconds(text: str) -> float:
    seconds = _seconds(text)
    if 0 < seconds < float("inf"):
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no time to measure; give seconds, such as 8")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name or name != name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not a header; write 'Name: value'")
    return name, value.strip()
