#!/usr/bin/env bash
# 32 bits: Debian's CPython 3.11 for i386, which runs on x86-64 as it is. The tests of bytes. 3 minutes to make, 5 to test.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
platform_of i386
debian bookworm i386 python3-dev python3-venv gcc libc6-dev
install_inside python3 native ./. "${requirements[@]}"
test_inside $(files "${bytes[@]}")
