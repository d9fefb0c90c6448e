#!/usr/bin/env bash
# CPython 3.13 without the GIL, built from Debian's source of it. The tests of bytes and of threads, those of threads
# ten times. 10 minutes to make, 5 to test.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
platform_of free-threaded trixie
debian trixie amd64 gcc libc6-dev make zlib1g-dev libssl-dev libffi-dev
python=/opt/python3.13t/bin/python3.13t
if [ ! -e "$platform$python" ]; then
    echo 'deb-src http://deb.debian.org/debian trixie main' >"$platform/etc/apt/sources.list.d/source.list"
    inside apt-get update -q
    inside apt-get install -q -y --no-install-recommends dpkg-dev
    inside sh -e -c 'rm -rf /srv/python && mkdir /srv/python && cd /srv/python &&
        apt-get source -q --download-only python3.13 && tar xf python3.13_*.orig.tar.xz && cd Python-3.13.* &&
        ./configure -q --disable-gil --prefix=/opt/python3.13t && make -s -j "$(nproc)" && make -s install'
fi
install_inside "$python" native ./. "${requirements[@]}"
inside /srv/venv/bin/python -c 'import sys, wsfast.codec; assert not sys._is_gil_enabled()'
for _ in 1 2 3 4 5 6 7 8 9; do
    test_inside test_threads.py test_sync_connection.py
    [ "$code" = 0 ] || exit
done
test_inside $(files "${bytes[@]}")
