"""``wsfast doctor``: the installed packages that can use wsfast, and the line to type for each.

It reads their metadata and imports none of them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Final

from ..patch.hosts import HOSTS, Host, installed_version
from .info import Info, collect
from .outcome import FAILURE, OK

__all__ = ["Finding", "examine", "report", "run"]

_HEADINGS: Final = ("package", "installed", "tested", "to use wsfast there")
_ABOUT_PATCHES: Final = (
    "A patch belongs at the start of the program, after import wsfast; for a server with a command of its own, at that",
    "of the application's module. wsfast.unpatch() undoes it, and help(wsfast.patch) tells more.",
)
_MORE: Final = "All of it is in docs/drop-in.md of the sources."


@dataclass(frozen=True)
class Finding:
    """The state of one host. ``installed``: its version, or None. ``carried``: installed packages that it carries."""

    host: Host
    installed: str | None
    was_tested: bool
    carried: tuple[str, ...] = ()


def run(arguments: argparse.Namespace) -> int:
    info = collect()
    findings = examine()
    if arguments.json:
        print(json.dumps(_as_json(info, findings), indent=2))
    else:
        print("\n".join(report(info, findings)))
    return FAILURE if info["codec"] == "broken" else OK


def examine() -> list[Finding]:
    """Look for every host in the table."""
    findings = []
    for host in HOSTS:
        version = installed_version(host.distribution)
        carried = tuple(name for name in host.carries if installed_version(name) is not None)
        findings.append(Finding(host, version, version is not None and host.was_tested(version), carried))
    return findings


def report(info: Info, findings: list[Finding]) -> list[str]:
    """Return the lines that ``wsfast doctor`` prints."""
    lines = [f"wsfast {info['wsfast']}, {info['python']}, {info['codec']} codec, kernels {info['kernel']}"]
    if info["fallback_reason"] is not None:
        lines.append(f"  why: {info['fallback_reason']}")
    present = [finding for finding in findings if finding.installed is not None]
    absent = [finding for finding in findings if finding.installed is None]
    lines.append("")
    if present:
        rows = [row for finding in present for row in _rows(finding)]
        widths = [max(len(row[column]) for row in (_HEADINGS, *rows)) for column in range(3)]
        for row in (_HEADINGS, *rows):
            cells = [cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)]
            lines.append("  ".join(cells).rstrip())
        for finding in present:
            lines += [f"  {note}" for note in _notes(finding, info)]
        if any("wsfast.patch" in finding.host.use for finding in present):
            lines += ["", *_ABOUT_PATCHES]
    else:
        lines.append("None of the packages that wsfast plugs into is installed here.")
    if absent:
        lines += ["", f"not installed: {', '.join(finding.host.distribution for finding in absent)}"]
    return [*lines, "", _MORE]


def _rows(finding: Finding) -> list[tuple[str, str, str, str]]:
    host = finding.host
    first, *others = host.use.split("\n")
    row = (host.distribution, finding.installed or "", host.tested, first)
    return [row, *(("", "", "", other) for other in others)]


def _notes(finding: Finding, info: Info) -> list[str]:
    """Return notes that the user should read before typing a line of the table."""
    host, notes = finding.host, []
    if finding.carried:
        verb = "gets" if len(finding.carried) == 1 else "get"
        notes.append(f"{', '.join(finding.carried)} {verb} wsfast by way of {host.distribution}")
    if not finding.was_tested:
        advice = "the patch needs force=True" if host.use.startswith("wsfast.patch") else "try it out first"
        notes.append(f"{host.distribution} {finding.installed} was not tested with wsfast: {advice}")
    if host.needs_native and info["codec"] != "native":
        notes.append(f"{host.distribution}: its own C is faster than the fallback codec; leave it as it is")
    return notes


def _as_json(info: Info, findings: list[Finding]) -> dict[str, object]:
    return {
        "wsfast": info["wsfast"],
        "codec": info["codec"],
        "fallback_reason": info["fallback_reason"],
        "hosts": [
            {
                "package": finding.host.distribution,
                "installed": finding.installed,
                "tested": {"oldest": finding.host.oldest, "newest": finding.host.newest},
                "was_tested": finding.was_tested,
                "use": finding.host.use,
                "notes": _notes(finding, info) if finding.installed else [],
            }
            for finding in findings
        ],
    }
