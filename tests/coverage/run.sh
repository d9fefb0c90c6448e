#!/usr/bin/env bash
# Which lines and branches the tests run, file by file: Python by coverage.py, Cython and C by gcov.
#     tests/coverage/run.sh [PYTHON] [--missing]
# PYTHON has '.[test,coverage]', which is installed if it is not there. The native codec is built from a copy, without
# optimisation and with gcc's counters; a line of a .pyx counts as run if any C of it is. The drop-ins are run with our
# tests in tests/hosts, each host in a venv that build/coverage keeps. Fails if a test fails or a file is not in the
# table; no number is demanded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=python3
if [ $# -gt 0 ] && [[ $1 != --* ]]; then
    python=$1
    shift
fi
python=$(command -v "$python")
[[ $python == /* ]] || python=$PWD/$python # a path from the root of the project
hosts=(uvicorn websockets wsproto websocket_client)

root=$PWD
venvs=$root/build/coverage
mkdir -p "$venvs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
"$python" -c 'import coverage, Cython' 2>/dev/null || "$python" -m pip install -q '.[coverage,test]'

mkdir "$work/tree"
cp -r ./*.md LICENSE pyproject.toml setup.py benchmarks docs examples src tests wsfast "$work/tree"
cd "$work/tree"
find . \( -name '*.so' -o -name native.c -o -name __pycache__ \) -exec rm -rf {} +
WSFAST_BUILD=native WSFAST_DEBUG=1 CFLAGS='--coverage' "$python" setup.py -q build_ext --inplace --force

export PYTHONPATH=$work/tree WSFAST_REQUIRE_NATIVE=1 COVERAGE_FILE=$work/data/python
export COVERAGE_RCFILE=$work/tree/pyproject.toml
mkdir "$work/data"
unset WSFAST_PURE WSFAST_KERNEL
# Left out: the tests that build packages or programs; those that measure memory or let it fail, as coverage.py takes
# memory too; the tables of hostile peers, whose time limits are short for code that is counted line by line.
"$python" -P -m coverage run -m pytest -q -p no:cacheprovider -m 'not packaging and not memory' \
    --ignore tests/kernels --ignore tests/browser --ignore tests/test_memory_errors.py \
    --ignore-glob 'tests/test_hostile_peers*.py'
for host in "${hosts[@]}"; do
    if ! cmp -s "tests/hosts/$host/constraints.txt" "$venvs/$host/constraints.txt"; then
        rm -rf "${venvs:?}/$host"
        "$python" -m venv "$venvs/$host"
        "$venvs/$host/bin/python" -m pip install -q -r "tests/hosts/$host/constraints.txt"
        "$venvs/$host/bin/python" -m pip install -q h11 coverage -c "tests/hosts/$host/constraints.txt"
        cp "tests/hosts/$host/constraints.txt" "$venvs/$host"
    fi
    mapfile -t tests < <(find "tests/hosts/$host" -name 'test_*.py' ! -name test_hostile_peers.py | sort)
    for pure in 0 1; do
        WSFAST_PURE=$pure "$venvs/$host/bin/python" -P -m coverage run -m pytest -q \
            -c tests/hosts/pytest.ini "${tests[@]}"
    done
done
"$python" -m coverage combine -q
"$python" -m coverage json -q --ignore-errors -o "$work/data/python.json"
"$python" "$root/tests/coverage/report.py" "$work/tree" "$work/data/python.json" "$@"
