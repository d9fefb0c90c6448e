#!/usr/bin/env bash
# Other machines, by qemu: tests/platforms/emulated.sh s390x (big-endian), arm64 or armhf. Debian's CPython for the
# machine, and the codec by a cross compiler: not by setup.py. A part of the tests of bytes. 2 minutes to make, 20 to
# test.
#
# The emulator is called by its name, so that the kernel need not know it. Then no program there can start another: the
# packages of Debian are unpacked and not set up, and one test is left out.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
arch=${1:-s390x}
suite=bookworm python=3.11
case $arch in
s390x) machine=s390x triple=s390x-linux-gnu ;;
arm64) machine=aarch64 triple=aarch64-linux-gnu ;;
armhf) machine=arm triple=arm-linux-gnueabihf ;;
*) echo "$0: not $arch: s390x, arm64 or armhf" && exit 2 ;;
esac
platform_of "$arch"
host_packages debootstrap debian-archive-keyring qemu-user-static python3-venv "gcc-$triple" "libc6-dev-$arch-cross"

if [ ! -e "$platform/made" ]; then
    rm -rf "$platform"
    debootstrap --foreign --variant=minbase --arch="$arch" --include="python3-dev" \
        "$suite" "$platform" http://deb.debian.org/debian
    for package in "$platform"/var/cache/apt/archives/*.deb; do
        dpkg-deb -x "$package" "$platform"
    done
    touch "$platform/made"
fi

here=$platform/srv/wsfast
copy_tree "$here"
python3 -m venv "$platform/host"
"$platform/host/bin/pip" install -q 'cython>=3.1'
cython=("$platform/host/bin/cython" -3 --module-name wsfast.native)
"${cython[@]}" -I "$here/src" -o "$here/src/native.c" "$here/src/native.pyx"
suffix=$(basename "$platform"/usr/lib/python$python/lib-dynload/_json.*.so)
"$triple-gcc" -shared -fPIC -O3 -Wall -Wextra -Wno-unused-parameter -fvisibility=hidden -I "$here/src" \
    -I "$here/src/kernels" -I "$platform/usr/include/python$python" -I "$platform/usr/include" \
    "$here"/src/native.c "$here"/src/kernels/*.c -o "$here/wsfast/native.${suffix#_json.}"

# Packages in Python only, chosen for the Python there.
rm -rf "$platform/site"
"$platform/host/bin/pip" install -q --target "$platform/site" --only-binary :all: --platform any --implementation py \
    --abi none --python-version "$python" 'h11>=0.16' "${requirements[@]}"

emulated() {
    env -i PYTHONHOME="$platform/usr" PYTHONPATH="$here:$platform/site" LANG=C.UTF-8 \
        WSFAST_REQUIRE_NATIVE=1 "qemu-$machine-static" -L "$platform" "$platform/usr/bin/python$python" "$@"
}
emulated -W error "$here/tests/packaging/smoke.py" native
about=$(emulated -c "$describe")
cd "$here/tests"
emulated -m pytest -q -p no:cacheprovider -k 'not fallback and not read_once' $(files "${few_bytes[@]}") 2>&1 | tee "$log" || code=$?
: "${code:=0}"
