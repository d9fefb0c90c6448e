#!/usr/bin/env bash
# The tests of bytes with the compiled codec under AddressSanitizer and UndefinedBehaviorSanitizer:
#     tests/kernels/sanitize.sh [PYTHON]
# PYTHON has what the tests need. The codec is built from a copy, without optimisation, so that nothing is optimised
# away that should be found. Every str and bytes is an allocation of its own (PYTHONMALLOC), between red zones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=$(command -v "${1:-python3}")
[[ $python == /* ]] || python=$PWD/$python # a path from the root of the project

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
cp -r pyproject.toml setup.py README.md LICENSE src wsfast tests "$work/source"
find "$work/source" \( -name '*.so' -o -name native.c -o -name __pycache__ \) -exec rm -rf {} +

WSFAST_BUILD=native WSFAST_DEBUG=1 CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=all' \
    "$python" -m pip install -q --disable-pip-version-check --no-deps --no-cache-dir --root-user-action ignore \
    --target "$work/site" "$work/source"
rm -r "$work/source/wsfast" # what was built is what is tested

export PYTHONPATH=$work/site PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1 WSFAST_REQUIRE_NATIVE=1
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 # CPython leaves objects behind when it ends
LD_PRELOAD="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)"
export LD_PRELOAD
unset WSFAST_PURE WSFAST_KERNEL

cd "$work/source/tests"
"$python" -P -c '
import sys
from wsfast import native
assert native.__file__.startswith(sys.argv[1]), native.__file__
assert b"__asan_init" in open(native.__file__, "rb").read(), "built without the sanitizers"
print("sanitized:", native.KERNEL)' "$work/site"
# There is nothing to find in the fallback. Where no test is found, pytest says so by its exit code.
"$python" -P -m pytest -q -p no:cacheprovider -k 'not fallback' \
    test_5_*.py test_8_1_*.py test_10_*.py test_agreement.py test_buffers.py test_encoder.py test_faults.py \
    test_frame_decoder.py test_7692_messages.py test_7692_limits.py test_kernel_levels.py test_order_of_calls.py \
    test_receiving_in_place.py test_text_as_bytes.py test_threads.py
