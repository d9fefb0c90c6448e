#!/usr/bin/env bash
# Run the fuzz targets of this folder, all of them or those that are named, each for some seconds:
#     tests/fuzz/run.sh SECONDS [TARGET...]
#     tests/fuzz/run.sh FILE TARGET           one input again, with all that the target says
# A target in C is built by $CLANG (clang) with libFuzzer. A target in Python runs under atheris, in $PYTHON (python3),
# which has '.[test,fuzz]'; the native codec is built for it, with AddressSanitizer and libFuzzer's counters.
# Inputs begin with corpus/TARGET, which is not written to. What is found, and new inputs, are in build/fuzz.
# Prints the executions of each target. Fails if a target finds anything, or did not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ $# -eq 0 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 2
fi
what=$1
shift
in_c=(frame_reader text_kernels)
native=(decoder encoder server) # in Python, with the native codec in it
pure=(handshake negotiation)    # in Python, with the fallback: the codec does not matter there
targets=("$@")
[ $# -gt 0 ] || targets=("${in_c[@]}" "${native[@]}" "${pure[@]}")

clang=${CLANG:-clang}
python=$(command -v "${PYTHON:-python3}")
[[ $python == /* ]] || python=$PWD/$python
build=$PWD/build/fuzz
mkdir -p "$build"/found

one_of() {
    local name=$1 other
    shift
    for other in "$@"; do [ "$other" != "$name" ] || return 0; done
    return 1
}

# Sanitizers of both builds. Cython's own macros add 0 to NULL, which only clang's pointer-overflow minds.
sanitizers=-fsanitize=address,undefined
build_c() {
    "$clang" -g -O1 -std=gnu11 -Wall -Wextra "$sanitizers" -fsanitize=fuzzer -fno-sanitize-recover=all \
        -Isrc/kernels "tests/fuzz/$1.c" src/kernels/*.c -o "$build/$1"
}

build_native() {
    local work
    [ ! -e "$build/site/done" ] || [ -n "$(find src wsfast setup.py -newer "$build/site/done" -name '*.*' \
        ! -name '*.so' ! -name '*.pyc' ! -name 'native.c' | head -n 1)" ] || return 0
    work=$(mktemp -d)
    rm -rf "$build/site"
    cp -r pyproject.toml setup.py README.md LICENSE src wsfast "$work"
    find "$work" \( -name '*.so' -o -name native.c -o -name __pycache__ \) -exec rm -rf {} +
    CC=$clang LDSHARED="$clang -shared" WSFAST_BUILD=native \
        CFLAGS="-g $sanitizers -fno-sanitize=pointer-overflow -fsanitize=fuzzer-no-link -fno-sanitize-recover=all" \
        "$python" -m pip install -q --disable-pip-version-check --no-deps --no-cache-dir --root-user-action ignore \
        --target "$build/site" "$work"
    rm -rf "$work"
    touch "$build/site/done"
}

# Sets `command` to what runs a target.
prepare() {
    local site=$build/site runtime
    if one_of "$1" "${in_c[@]}"; then
        build_c "$1"
        command=("$build/$1")
    elif one_of "$1" "${native[@]}"; then
        build_native
        runtime=$("$python" -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so
        # CPython leaves objects behind when it ends.
        command=(env "LD_PRELOAD=$runtime" ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=32 "PYTHONPATH=$site:$PWD/tests"
            WSFAST_PURE=0 PYTHONDONTWRITEBYTECODE=1 "$python" "tests/fuzz/$1.py")
    elif one_of "$1" "${pure[@]}"; then
        command=(env "PYTHONPATH=$PWD:$PWD/tests" WSFAST_PURE=1 PYTHONDONTWRITEBYTECODE=1 "$python" "tests/fuzz/$1.py")
    else
        echo "no target $1: there are ${in_c[*]} ${native[*]} ${pure[*]}"
        exit 2
    fi
}

if [ -f "$what" ]; then
    prepare "${targets[0]}"
    exec "${command[@]}" "$what"
fi
[[ $what =~ ^[1-9][0-9]*$ ]] || { echo "$what is neither a number of seconds nor a file"; exit 2; }

bad=()
for target in "${targets[@]}"; do
    prepare "$target"
    mkdir -p "$build/corpus/$target"
    seeds=(tests/fuzz/corpus/"$target"/*)
    [ -e "${seeds[0]}" ] || { echo "$target: there is no seed in tests/fuzz/corpus/$target"; exit 1; }
    status=0
    # An input that takes 30 s has hung; a run that does not end is ended.
    timeout --kill-after=10 "$((what + 120))" "${command[@]}" -max_total_time="$what" -max_len=4096 -timeout=30 \
        -rss_limit_mb=3072 -print_final_stats=1 -artifact_prefix="$build/found/$target-" \
        "$build/corpus/$target" "tests/fuzz/corpus/$target" >"$build/$target.log" 2>&1 || status=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log")
    if [ "$status" -ne 0 ] || [ "${executions:-0}" -eq 0 ]; then
        bad+=("$target")
        grep -v -e '^#[0-9]' -e '^INFO: ' -e 'NEW_FUNC' -e '# Uses' "$build/$target.log" | tail -n 60
    fi
    printf '%-14s %12s executions in %d s: %s\n' "$target" "${executions:-no}" "$what" \
        "$([ "$status" -eq 0 ] && echo 'nothing found' || echo "FAILED ($status), see $build/$target.log")"
done
[ ${#bad[@]} -eq 0 ] || { echo "failed: ${bad[*]}"; exit 1; }
