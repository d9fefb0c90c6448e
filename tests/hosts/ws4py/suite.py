"""ws4py's own tests, from its sdist, with the patch in place; without those of a CherryPy that is not installed."""

from __future__ import annotations

import sys

import pytest

from wsfast import patch
from wsfast.patch import byte_hosts

calls = 0
mask = byte_hosts._ws4py_mask


def counted(self, data):
    global calls
    calls += 1
    return mask(self, data)


if __name__ == "__main__":
    tests = f"{sys.argv[1]}/test"
    byte_hosts._ws4py_mask = counted
    patch.ws4py()
    # Not from the sdist's folder, where the sources would be imported in place of what was installed.
    options = ["-q", "-c", "/dev/null", "--rootdir", tests, "-p", "no:cacheprovider"]
    code = pytest.main([tests, *options, "--ignore", f"{tests}/test_cherrypy.py"])
    print(f"masked {calls} payloads by wsfast")
    sys.exit(code or not calls)
