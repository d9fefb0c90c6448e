"""The benchmarks of wsfast, run from the root of the checkout: ``python -m benchmarks.servers.echo``.

``python -m`` puts the checkout first on ``sys.path``. Its ``wsfast`` folder would then hide the installed package,
which has the compiled codec. So the checkout moves to the end of the path here, before anything imports wsfast.
``common.machine.announce`` prints which wsfast that found.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _prefer_installed_package() -> None:
    others = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path[:] = [*others, str(ROOT)]


_prefer_installed_package()
