#!/usr/bin/env bash
# Debian's PyPy 7.3.19 (Python 3.11), which has the fallback alone. The tests of bytes. 4 minutes to make, 10 to test.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
platform_of pypy trixie
debian trixie amd64 pypy3 pypy3-venv gcc libc6-dev pypy3-dev
install_inside pypy3 fallback ./. "${requirements[@]}"
require_native=0
test_inside -k 'not native' $(files "${bytes[@]}")
