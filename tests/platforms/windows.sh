#!/usr/bin/env bash
# CPython 3.14 for Windows, in wine; the codec by MinGW, not by setup.py. The tests of bytes, and those of asyncio that
# need no TLS, on Windows' own loop. 3 minutes to make, 10 to test.
#
# Python comes from Maven, in the package of org.bytedeco.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
version=3.14.3-1.5.13
platform_of windows
host_packages wine64 wine gcc-mingw-w64-x86-64-win32 unzip python3-venv
command -v mvn >/dev/null || host_packages maven
home=$platform/org/bytedeco/cpython/windows-x86_64

if [ ! -e "$platform/made" ]; then
    rm -rf "$platform"
    mkdir -p "$platform"
    mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy -Dmdep.overWriteReleases=true \
        "-Dartifact=org.bytedeco:cpython:$version:jar:windows-x86_64" "-DoutputDirectory=$platform"
    unzip -q "$platform"/cpython-*.jar 'org/*' -d "$platform"
    cp "$home"/lib/vcruntime140*.dll "$home"
    # wine has no service that answers this module's questions.
    echo 'import sys; sys.modules["_wmi"] = None' >"$home/lib/sitecustomize.py"
    touch "$platform/made"
fi

export WINEPREFIX=$platform/prefix WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
[ -e "$WINEPREFIX" ] || { wineboot -i && winecfg -v win10; } 2>/dev/null

here=$platform/wsfast
copy_tree "$here"
python3 -m venv "$platform/host"
"$platform/host/bin/pip" install -q 'cython>=3.1'
"$platform/host/bin/cython" -3 --module-name wsfast.native -I "$here/src" -o "$here/src/native.c" "$here/src/native.pyx"
x86_64-w64-mingw32-gcc -shared -static-libgcc -O3 -Wall -Wextra -Wno-unused-parameter -Wno-cast-function-type \
    -DMS_WIN64 -I "$here/src" -I "$here/src/kernels" -I "$home/include" "$here"/src/native.c "$here"/src/kernels/*.c \
    "$home/libs/python314.lib" -o "$here/wsfast/native.cp314-win_amd64.pyd"
rm -rf "$platform/site"
"$platform/host/bin/pip" install -q --target "$platform/site" --only-binary :all: --platform any --implementation py \
    --abi none --python-version 3.14 'h11>=0.16' colorama "${requirements[@]}"

# Its output goes through a pipe: wine's console would add escapes.
python() {
    PYTHONHOME="Z:$home" PYTHONPATH="Z:$here;Z:$platform/site" PYTHONUTF8=1 WSFAST_REQUIRE_NATIVE=1 \
        wine "$home/python.exe" "$@" 2>&1 | cat
}
python -W error "Z:$here/tests/packaging/smoke.py" native
about="$(python -c "$describe" | tr -d '\r')"
cd "$here/tests"
python -m pytest -q -p no:cacheprovider $(files "${bytes[@]}") | tee "$log" || code=$?
: "${code:=0}"
