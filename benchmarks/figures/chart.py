"""Draw chart.svg from the JSON of ``codec/peers.py``: ``python -m benchmarks.figures.chart``.

A row is one kind of message, a mark one package: its time as a multiple of wsfast's, on a logarithmic scale. Plain
Python draws it. The colours follow the reader's light or dark scheme, and each package has a shape of its own too.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent

# Title of a group, table, beginning of its rows' names, and the rest of them.
GROUPS = (
    (
        "Decode, server: masked frames, reads of 64 KiB",
        "decode",
        "masked ",
        (
            "text 32 B",
            "text 125 B",
            "text 1 KiB",
            "text 16 KiB",
            "text 1 MiB",
            "Korean 125 B",
            "Korean 1 KiB",
            "Korean 16 KiB",
            "JSON+Korean 1 KiB",
            "binary 32 B",
            "binary 1 KiB",
            "binary 16 KiB",
            "binary 1 MiB",
        ),
    ),
    (
        "Decode, client: frames that are not masked",
        "decode",
        "unmasked ",
        ("text 125 B", "text 1 KiB", "binary 1 KiB", "binary 1 MiB"),
    ),
    ("Encode, server", "encode", "server ", ("text 32 B", "text 1 KiB", "Korean 1 KiB", "binary 16 KiB")),
    (
        "Encode, client: masked",
        "encode",
        "client ",
        ("text 32 B", "binary 125 B", "binary 1 KiB", "binary 16 KiB", "binary 1 MiB"),
    ),
)
# Subject: name in the legend, shape, colour in the light and in the dark scheme.
MARKS = {
    "floor": ("floor, no WebSocket", "tick", "#6e7781", "#9aa4af"),
    "picows": ("picows", "square", "#c2410c", "#fb923c"),
    "aiohttp": ("aiohttp", "triangle", "#1d4ed8", "#7aa2ff"),
    "websockets": ("websockets", "diamond", "#a16207", "#eac54f"),
    "wsproto": ("wsproto", "cross", "#be185d", "#ff8ac2"),
    "autobahn": ("autobahn, NVX", "ring", "#6d28d9", "#c4a5ff"),
    "wsfast fallback": ("wsfast, plain Python", "open circle", "#0f766e", "#4fd1c5"),
    "wsfast": ("wsfast", "circle", "#0f766e", "#4fd1c5"),
}

WIDTH, LEFT, RIGHT = 900, 170, 90
ROW, HEAD, GAP = 21, 26, 10
LOWEST, HIGHEST = 0.35, 800.0
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def x_of(ratio: float) -> float:
    share = math.log(ratio / LOWEST) / math.log(HIGHEST / LOWEST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def duration(ns: float) -> str:
    for unit, size in (("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def mark(subject: str, x: float, y: float) -> str:
    shape, name = MARKS[subject][1], subject.replace(" ", "-")
    match shape:
        case "tick":
            return f'<path class="{name} line" d="M{x:.1f} {y - 6:.1f}v12"/>'
        case "square":
            return f'<path class="{name}" d="M{x - 4.2:.1f} {y - 4.2:.1f}h8.4v8.4h-8.4z"/>'
        case "triangle":
            return f'<path class="{name}" d="M{x:.1f} {y - 5.4:.1f}l5.4 9.6h-10.8z"/>'
        case "diamond":
            return f'<path class="{name}" d="M{x:.1f} {y - 5.8:.1f}l5.8 5.8l-5.8 5.8l-5.8 -5.8z"/>'
        case "cross":
            d = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
            return f'<path class="{name} line" d="{d}"/>'
        case "ring":
            return f'<path class="{name} line" d="M{x - 4:.1f} {y - 4:.1f}h8v8h-8z"/>'
        case "open circle":
            return f'<circle class="{name} line" cx="{x:.1f}" cy="{y:.1f}" r="4.6"/>'
    return f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'


def style() -> str:
    light = "".join(f".{name.replace(' ', '-')}{{--c:{colour}}}" for name, (*_, colour, _) in MARKS.items())
    dark = "".join(f".{name.replace(' ', '-')}{{--c:{colour}}}" for name, (*_, colour) in MARKS.items())
    return (
        "text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}"
        ".page{fill:#fff}.dim{fill:#59636e}.group{font-weight:600}.title{font-size:16px;font-weight:600}"
        ".end{text-anchor:end}.middle{text-anchor:middle}path,circle{fill:var(--c)}"
        ".grid{stroke:#d8dee4}.row{stroke:#eaeef2}.one{stroke:#0f766e;stroke-width:1.5}"
        "text{paint-order:stroke;stroke:#fff;stroke-width:4px}"
        f".line{{fill:none;stroke:var(--c);stroke-width:2}}{light}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3;stroke:#0d1117}.page{fill:#0d1117}.dim{fill:#9aa4af}"
        f".grid{{stroke:#30363d}}.row{{stroke:#21262d}}.one{{stroke:#4fd1c5}}{dark}}}"
    )


def legend(y: float) -> list[str]:
    lines = []
    for n, (subject, (name, *_)) in enumerate(reversed(MARKS.items())):
        x, line_y = 24 + n % 4 * 200, y + n // 4 * 22
        lines.append(mark(subject, x, line_y - 4.5))
        lines.append(text(x + 14, line_y, name))
    return lines


def text(x: float, y: float, content: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(content)}</text>'


def draw(tables: dict[str, dict[str, dict[str, float]]], captions: list[str]) -> str:
    body = [text(16, 28, "How long a message takes, as a multiple of wsfast’s time", "title"), *legend(56)]
    top = y = 128.0
    body.append(text(WIDTH - 16, top - 16, "wsfast", "end dim"))
    for title, table, prefix, names in GROUPS:
        body.append(text(16, y + 14, title, "group"))
        y += HEAD
        for name in names:
            figures = tables[table][prefix + name]
            middle = y + ROW / 2
            ours = figures["wsfast"]
            body.append(text(LEFT - 12, middle + 4.5, name, "end"))
            body.append(f'<path class="row" d="M{LEFT} {middle}H{WIDTH - RIGHT}"/>')
            for subject in MARKS:
                if subject in figures and figures[subject] / ours >= LOWEST:
                    body.append(mark(subject, x_of(figures[subject] / ours), middle))
            body.append(text(WIDTH - 16, middle + 4.5, duration(ours), "end dim"))
            y += ROW
        y += GAP
    grid = []
    for tick in TICKS:
        x = x_of(tick)
        grid.append(f'<path class="{"one" if tick == 1 else "grid"}" d="M{x:.1f} {top - 8}V{y}"/>')
        grid += [text(x, height, f"{tick:g}×", "middle dim") for height in (top - 16, y + 16)]
    y += 42
    for caption in captions:
        body.append(text(16, y, caption, "dim"))
        y += 18
    height = f"{y:.0f}"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            f' width="{WIDTH}" height="{height}" role="img">',
            "<title>How long a message takes in each package, as a multiple of wsfast’s time</title>",
            f"<style>{style()}</style>",
            '<rect class="page" width="100%" height="100%"/>',
            *grid,
            *body,
            "</svg>\n",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the chart of the peers' benchmark.")
    parser.add_argument("json", type=Path, nargs="?", default=HERE / "results" / "peers.json")
    parser.add_argument("--svg", type=Path, default=HERE / "chart.svg", metavar="FILE")
    options = parser.parse_args()
    measured = json.loads(options.json.read_text())
    tables = {table["title"].split()[0]: table["rows"] for table in reversed(measured["tables"])}
    peers = next(note for note in measured["notes"] if note.startswith("peers"))
    captions = [
        "floor: the payload copied, made a str by CPython, or joined to its header; no masking, no frames",
        ", ".join(measured["machine"]),
        peers.replace("peers: ", ""),
    ]
    options.svg.write_text(draw(tables, captions))


if __name__ == "__main__":
    main()
