# What the scripts of this folder share. They source it.
#
# A platform is made once and kept in a folder of its own, below $WSFAST_PLATFORMS (default: ~/.cache/wsfast/platforms).
# wsfast is built and installed there anew each time, from the tree as it is. The end is one line: the platform, the
# codec, and how many tests passed and failed. Needs root, on Debian or Ubuntu.
set -euo pipefail
shopt -s nullglob

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
store=${WSFAST_PLATFORMS:-${XDG_CACHE_HOME:-$HOME/.cache}/wsfast/platforms}
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
unset WSFAST_PURE WSFAST_BUILD WSFAST_DEBUG WSFAST_KERNEL PYTHONPATH PYTHONHOME

# What runs where neither a socket nor another process is to be had; see also requirements.
bytes=(
    test_5_* test_7_* test_8_1_* test_10_* test_3_* test_7692_limits.py test_7692_messages.py test_7692_negotiation.py
    test_7692_window_bits.py test_agreement.py test_buffers.py test_encoder.py test_exceptions.py test_faults.py
    test_frame_decoder.py test_headers.py test_order_of_calls.py test_receiving_in_place.py test_text_as_bytes.py
    test_threads.py
)
# Of these a part, for machines that are emulated: 20 times as slow.
few_bytes=(
    test_5_1_* test_5_2_* test_5_3_* test_5_4_* test_5_5_* test_5_6_* test_5_7_* test_8_1_* test_encoder.py
    test_frame_decoder.py test_text_as_bytes.py test_threads.py
)
# hypothesis in Python only: there are no wheels of the newer ones for these platforms.
requirements=(pytest 'hypothesis<6.140' websockets)

# Packages of the host's Debian or Ubuntu, if they are not there yet.
host_packages() {
    if ! dpkg-query --show --showformat '${db:Status-Status}\n' "$@" 2>&1 | grep -vx installed >/dev/null; then
        return
    fi
    apt-get update -q
    apt-get install -q -y --no-install-recommends "$@"
}

# Begin: the name of the platform, and of its folder, $platform. At the end of the script its line is printed.
platform_of() {
    name=$1
    platform=$store/${2:-$1}
    log=$store/$name.log
    about= code=
    mkdir -p "$store"
    rm -f "$log"
    trap conclude EXIT
}

conclude() {
    local failed=$? counts=
    [ -z "${mounted:-}" ] || umount -l "$platform/dev" "$platform/proc"
    [ ! -e "$log" ] || counts=$(tail -n 1 "$log" | grep -Eo '[0-9]+ (passed|failed|skipped|errors?)' | paste -s -d, | sed 's/,/, /g')
    printf '%s: %s: %s\n' "$name" "${about:-not built}" "${counts:-no test ran}"
    exit $((failed ? failed : ${code:-1}))
}

# Copy the tree, without what was built in it, to a folder that is made anew.
copy_tree() {
    rm -rf "$1"
    mkdir -p "$1"
    tar -C "$root" --exclude './.*' --exclude ./build --exclude ./dist --exclude '*.so' --exclude '*.pyd' \
        --exclude __pycache__ --exclude native.c --exclude '*.egg-info' -c . | tar -C "$1" -x
}

# Make a Debian of this suite and architecture in $platform. The rest are its packages.
debian() {
    local suite=$1 arch=$2
    shift 2
    host_packages debootstrap debian-archive-keyring
    if [ ! -e "$platform/made" ]; then
        rm -rf "$platform"
        debootstrap --variant=minbase --arch="$arch" "$suite" "$platform" http://deb.debian.org/debian
        touch "$platform/made"
    fi
    cp /etc/resolv.conf "$platform/etc/resolv.conf"
    cp /etc/ssl/certs/ca-certificates.crt "$platform/srv/ca.crt"
    mounted=1
    mount -t proc proc "$platform/proc"
    mount --rbind /dev "$platform/dev"
    mount --make-rslave "$platform/dev"
    # The lists of sid may have expired where a mirror is a copy.
    inside apt-get -q -o Acquire::Check-Valid-Until=false update
    inside apt-get -q -y --no-install-recommends install "$@"
}

# Run a command in the Debian of $platform, with nothing of our environment.
inside() {
    chroot "$platform" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive PIP_CERT=/srv/ca.crt PIP_DISABLE_PIP_VERSION_CHECK=1 \
        PIP_ROOT_USER_ACTION=ignore "$@"
}

# Build wsfast in $platform for this Python, in a venv with these packages, and check it: native or fallback.
install_inside() {
    local python=$1 codec=$2
    shift 2
    copy_tree "$platform/srv/wsfast"
    rm -rf "$platform/srv/venv"
    inside "$python" -m venv /srv/venv
    inside WSFAST_BUILD="${codec/fallback/python}" /srv/venv/bin/pip install -q --no-cache-dir "${@/#./\/srv\/wsfast}"
    inside /srv/venv/bin/python -P -W error /srv/wsfast/tests/packaging/smoke.py "$codec"
    about=$(inside /srv/venv/bin/python -c "$describe")
}

# Run pytest in $platform over these files of tests/, or with these options.
test_inside() {
    # An installed package is what is tested: from tests/, where the sources are not in the way.
    inside WSFAST_REQUIRE_NATIVE="${require_native:-1}" sh -c \
        'cd /srv/wsfast/tests && exec /srv/venv/bin/python -P -m pytest -q -p no:cacheprovider "$@"' sh "$@" \
        2>&1 | tee "$log" || code=$?
    : "${code:=0}"
}

# The names of the files in tests/ that these patterns match.
files() {
    (cd "$root/tests" && echo $*)
}

describe='import platform, struct, sysconfig
from wsfast import codec
print(platform.python_implementation(), platform.python_version() + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    platform.machine(), "%d bits," % (8 * struct.calcsize("P")), codec.IMPLEMENTATION, codec.KERNEL)'
