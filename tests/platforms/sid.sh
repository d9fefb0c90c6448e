#!/usr/bin/env bash
# The CPythons of Debian sid, which has the newest ones: tests/platforms/sid.sh 3.15 (or 3.14, 3.13). All tests but
# those of packaging, kernels and browsers. 5 minutes to make, 6 to test.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
version=${1:-3.15}
platform_of "sid-$version" sid
debian sid amd64 "python$version-dev" "python$version-venv" gcc libc6-dev git
install_inside "python$version" native './[test]'
test_inside -m 'not packaging' --ignore kernels --ignore browser .
