#!/usr/bin/env bash
# The kernels by clang for Windows' own ABI, as clang-cl compiles them: no warning, and nothing missing when they are
# linked. They are not run. 2 minutes to make, seconds to compile.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
platform_of clang-cl trixie
debian trixie amd64 clang-19 binutils
copy_tree "$platform/srv/wsfast"
# Instead of the headers of Windows, which are not free: as much of them as the kernels and clang's own headers want.
headers=$platform/srv/headers
mkdir -p "$headers"
printf '%s\n' '#include <stddef.h>' 'void *memcpy(void *, const void *, size_t);' 'void *memset(void *, int, size_t);' \
    'void *memmove(void *, const void *, size_t);' 'int memcmp(const void *, const void *, size_t);' \
    'int strcmp(const char *, const char *);' >"$headers/string.h"
printf '%s\n' '#include <stddef.h>' 'void *malloc(size_t);' 'void free(void *);' | tee "$headers/stdlib.h" >"$headers/malloc.h"
echo 'typedef int jmp_buf[64];' >"$headers/setjmp.h"
: >"$headers/math.h"
about=$(inside clang-19 --version | head -n 1)
n_compiled=0
for target in x86_64 aarch64 i686; do
    for source in "$root"/src/kernels/*.c; do
        object=/srv/headers/$target-$(basename "$source").o
        inside clang-19 "--target=$target-pc-windows-msvc" -fms-extensions -fms-compatibility -O2 -Wall -Wextra -Werror \
            -I /srv/headers -c "/srv/wsfast/src/kernels/$(basename "$source")" -o "$object"
        n_compiled=$((n_compiled + 1))
    done
done
missing=$(inside sh -c 'nm -u /srv/headers/x86_64-*.o' | grep -E ' U ' | grep -Ev ' (wsfast_.*|mem(cpy|set|move|cmp)|strcmp)$' || true)
[ -z "$missing" ] || { echo "$missing"; exit 1; }
echo "$n_compiled passed" >"$log"
code=0
