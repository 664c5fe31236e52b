# installed.sh, to be sourced with $meson, $build and $source set: installs Tenon into $folder/root, a prefix of its own that is
# removed at exit, and points pkg-config there and nowhere else.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$meson" install -C "$build" --no-rebuild --destdir "$folder/root" > "$folder/install.log" 2>&1 ||
    { cat "$folder/install.log"; exit 1; }
pc=$(find "$folder/root" -name tenon-sdk.pc)
export PKG_CONFIG_LIBDIR="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$folder/root"
tenon=$(find "$folder/root" -type f -name tenon -path '*/bin/*')
plugins=$(pkg-config --variable=plugin_dir tenon-sdk)
