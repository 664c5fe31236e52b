#!/bin/sh
# template.sh MESON BUILD SOURCE: a vendor's first day. Installs Tenon into a temporary prefix, copies the template out of the tree, and
# builds, checks and loads it with nothing but pkg-config's word.
set -eu
meson=$1 build=$2 source=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$meson" install -C "$build" --no-rebuild --destdir "$folder/root" > "$folder/install.log" 2>&1 ||
    { cat "$folder/install.log"; exit 1; }
pc=$(find "$folder/root" -name tenon-sdk.pc)
export PKG_CONFIG_LIBDIR="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$folder/root"

cp -r "$source/sdk/template" "$folder/template"
cd "$folder/template"
make CFLAGS="-O2 -Wall -Wextra -Werror"
make check CFLAGS="-O2 -Wall -Wextra -Werror"
symbols=$(nm -D --defined-only template.so | awk '{print $3}')
[ "$symbols" = tn_plugin_entry ] || { echo "template.so exports: $symbols"; exit 1; }
"$(find "$folder/root" -name tenon-check)" "$PWD/template.so"
make install DESTDIR=
[ -f "$(pkg-config --variable=plugin_dir tenon-sdk)/template.so" ]

cc -std=c11 -Wall -Wextra -Werror -o load_plugin "$source/tests/e2e/load_plugin.c" \
    $(pkg-config --cflags --libs tenon-sdk) -ldl
./load_plugin "$PWD/template.so"
echo "template: built, checked and loaded out of the tree"
