#!/bin/sh
# embed.sh MESON BUILD SOURCE: an embedder's first day. Builds sdk/examples/embed.c out of the tree with nothing but pkg-config's word
# and asks it what `tenon run` is asked: the same tables, so the same answer.
set -eu
meson=$1 build=$2 source=$3
. "$source/tests/e2e/installed.sh"
model=$source/tests/reference/golden/tiny_mixed.gguf

cp "$source/sdk/examples/embed.c" "$folder"
cd "$folder"
cc -std=c11 -Wall -Wextra -Werror embed.c $(pkg-config --cflags --libs tenon) -o embed
LD_LIBRARY_PATH=$(dirname "$(find "$folder/root" -name libtenon.so)")
export LD_LIBRARY_PATH

./embed "$model" "Why is the sky blue?" "plugins.path=$plugins" > embedded
"$tenon" run "$model" "Why is the sky blue?" --max-tokens 48 --set "plugins.path=$plugins" > ran 2> /dev/null
[ "$(wc -c < ran)" -gt 48 ] || { echo "tenon run answers next to nothing:"; cat ran; exit 1; }
cmp embedded ran

code=0
./embed missing.gguf "Why?" "plugins.path=$plugins" 2> error || code=$?
[ $code = 1 ] && grep -q 'missing.gguf' error || { echo "a missing model gave code $code:"; cat error; exit 1; }
echo "embed: built out of the tree, answers as tenon run does"
