#!/usr/bin/env bash
# Pyodide: CPython 3.14 for WebAssembly, in Node.js. The pure wheel's files, so the fallback; the smoke test, and the
# tests of bytes that need no thread. 1 minute to make, 5 to test.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
version=314.0.7
platform_of pyodide
host_packages python3-venv
command -v npm >/dev/null || host_packages nodejs npm

if [ ! -e "$platform/made" ]; then
    rm -rf "$platform"
    mkdir -p "$platform"
    npm install --silent --no-fund --no-audit --prefix "$platform" "pyodide@$version"
    touch "$platform/made"
fi
copy_tree "$platform/wsfast"
python3 -m venv "$platform/host"
rm -rf "$platform/site"
"$platform/host/bin/pip" install -q --target "$platform/site" --only-binary :all: --platform any --implementation py \
    --abi none --python-version 3.14 'h11>=0.16' "${requirements[@]}"

cat >"$platform/run.mjs" <<'END'
import { loadPyodide } from "pyodide";
const [folder, ...command] = process.argv.slice(2);
const python = await loadPyodide({ env: { HOME: "/" } });
python.FS.mkdir("/here");
python.FS.mount(python.FS.filesystems.NODEFS, { root: folder }, "/here");
python.globals.set("command", python.toPy(command));
process.exit(python.runPython(`
import os, runpy, sys, traceback
sys.path[:0] = "/here/wsfast", "/here/site"
os.chdir("/here/wsfast/tests")
sys.argv = command
code = 0
try:
    if command[0] == "-c":
        exec(command[1], {})
    elif command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(command[0], run_name="__main__")
except SystemExit as end:
    code = int(end.code or 0)
except BaseException:
    traceback.print_exc()
    code = 1
code
`));
END
python() {
    (cd "$platform" && node run.mjs "$platform" "$@")
}
python /here/wsfast/tests/packaging/smoke.py fallback
about=$(python -c "$describe")
python -m pytest -q -p no:cacheprovider -k 'not native and not test_threads' $(files "${few_bytes[@]}") 2>&1 |
    tee "$log" || code=$?
: "${code:=0}"
