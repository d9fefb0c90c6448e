"""The cost of an echo in wsfast's server and in its peers': ``python -m benchmarks.servers.echo``.

``common/echoes.py`` describes the measurement. A ratio is the median of the ratios inside each round; the best sample
comes nearest to the cost. Linux only. Peers that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from ..common.echoes import Load, Results, loads_of, measure_echoes
from ..common.machine import announce, use_one_core
from ..common.report import Bar, Table, add_options, finish
from ..common.server import Server, available, usable_loop
from .programs import PROGRAMS

MODULE = "benchmarks.servers.programs"
USUAL = (
    "raw",
    "picows",
    "picows.websockets",
    "wsfast-callbacks",
    "wsfast",
    "websockets",
    "aiohttp",
    "wsproto",
)
KNOWN = [name for name in PROGRAMS if name != "canned"]
REFERENCES = ("picows.websockets", "picows")  # the peers that the others are compared with

# For uvloop: load, a program of ours, the peer, and the largest cost of ours as a multiple of the peer's.
PROMISES = (
    (Load(64, 1), "wsfast", "picows.websockets", 1.1),
    (Load(64, 64), "wsfast", "picows", 0.35),
    (Load(64, 1), "wsfast-callbacks", "picows", 1.05),
    (Load(64, 64), "wsfast-callbacks", "picows", 0.2),
)


def tables_of(results: Results, loop: str, references: tuple[str, ...] = REFERENCES) -> list[Table]:
    tables = []
    for load, samples in results.items():
        table = Table(
            f"{load.name}, {loop}: CPU of the server per message (total: with the client)",
            "us; ratios: of the peer's time",
        )
        for name, own in samples.items():
            figures = {
                "best": own.best,
                "median": statistics.median(own.server_us),
                "total": min(own.total_us),
            }
            for reference in references:
                if reference in samples:
                    figures[f"/ {reference}"] = own.ratio(samples[reference])
            table.rows[name] = figures
            table.sizes[name] = load.size
        tables.append(table)
    return tables


def bars_of(results: Results, loop: str) -> list[Bar]:
    bars = []
    for load, ours, peer, limit in PROMISES:
        samples = results.get(load, {})
        measured = None
        if loop == "uvloop" and ours in samples and peer in samples:
            measured = samples[ours].ratio(samples[peer])
        bars.append(Bar(f"{ours} to {peer}, {load.name}, uvloop", measured, limit))
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the CPU time that echo servers use per message.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument(
        "--programs",
        default=",".join(USUAL),
        metavar="NAMES",
        help=f"of {', '.join(KNOWN)} (default: %(default)s)",
    )
    parser.add_argument("--sizes", default="64", metavar="BYTES", help="such as 8,256,102400 (default: 64)")
    parser.add_argument(
        "--in-flight", default="1,64", metavar="N", help="messages sent at once (default: 1,64)"
    )
    parser.add_argument("--binary", action="store_true", help="binary messages instead of text")
    parser.add_argument("--rounds", type=int, default=27, metavar="N", help="samples of each (default: 27)")
    parser.add_argument(
        "--sample", type=float, default=0.15, metavar="S", help="seconds a sample (default: 0.15)"
    )
    parser.add_argument(
        "--seconds", type=float, default=75, metavar="S", help="stop sampling after (default: 75)"
    )
    parser.add_argument("--cpu", type=int, metavar="N", help="the core to use (default: the last one)")
    add_options(parser)
    options = parser.parse_args()
    unknown = set(options.programs.split(",")) - set(KNOWN)
    if unknown:
        parser.error(f"no such program: {', '.join(sorted(unknown))}")

    use_one_core(options.cpu)
    machine = announce()
    loop = usable_loop(options.loop)
    names = available(MODULE, options.programs.split(","))
    results = measure_echoes(
        lambda: [Server(MODULE, name, loop) for name in names],
        loads_of(options.sizes, options.in_flight, options.binary),
        options.rounds,
        options.sample,
        options.seconds,
    )
    return finish(options, [*machine, f"loop: {loop}"], tables_of(results, loop), bars_of(results, loop))


if __name__ == "__main__":
    sys.exit(main())
