"""wsproto's own tests, from its sdist, unmodified: ``python suite.py SDIST_FOLDER``.

Twice: with ``wsfast.patch.wsproto()``, and with ``wsfast.wsproto`` in the place of all of wsproto's modules. Without
wsfast 230 pass, and so they have to each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

if __name__ == "__main__":
    if len(sys.argv) > 2:
        import pytest
        import wsfast_in_wsproto

        options = ["-q", "-c", os.devnull, "--rootdir", sys.argv[1], "-p", "no:cacheprovider"]
        sys.exit(pytest.main([f"{sys.argv[1]}/tests", *options], plugins=[wsfast_in_wsproto]))
    start = time.monotonic()
    for mode in ("patch", "names"):
        command = [sys.executable, __file__, sys.argv[1], mode]
        text = subprocess.run(
            command, env={**os.environ, "WSFAST_WSPROTO": mode}, stdout=subprocess.PIPE, text=True
        ).stdout
        print(text)
        if "\n230 passed in" not in text:
            sys.exit(f"not all tests of wsproto passed, by {mode}")
    print(f"460 passed in {time.monotonic() - start:.2f}s")
