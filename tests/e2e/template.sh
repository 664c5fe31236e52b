#!/bin/sh
# template.sh MESON BUILD SOURCE: a vendor's first day. Installs Tenon into a temporary prefix, copies the template out of the tree, and
# builds, checks and loads it with nothing but pkg-config's word.
set -eu
meson=$1 build=$2 source=$3
. "$source/tests/e2e/installed.sh"

cp -r "$source/sdk/template" "$folder/template"
cd "$folder/template"
make CFLAGS="-O2 -Wall -Wextra -Werror"
make check CFLAGS="-O2 -Wall -Wextra -Werror"
symbols=$(nm -D --defined-only template.so | awk '{print $3}')
[ "$symbols" = tn_plugin_entry ] || { echo "template.so exports: $symbols"; exit 1; }
"$(find "$folder/root" -name tenon-check)" "$PWD/template.so"
make install DESTDIR=
[ -f "$plugins/template.so" ]

cc -std=c11 -Wall -Wextra -Werror -o load_plugin "$source/tests/e2e/load_plugin.c" \
    $(pkg-config --cflags --libs tenon-sdk) -ldl
./load_plugin "$PWD/template.so"

"$tenon" plugins --set plugins.path="$plugins" | grep 'tn\.ops'
if [ -n "${TENON_TEST_MODEL:-}" ]; then
    python3 "$source/tests/e2e/template_model.py" "$tenon" "$plugins" "$PWD/template.so" \
        "$source/tests/reference/golden/smollm2_greedy.json"
fi
echo "template: built, checked and loaded out of the tree"
