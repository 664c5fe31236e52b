#!/bin/sh
# draft_hash.sh OUT HEADER...: writes tenon/draft.h, the hash that ids of draft interfaces end in.
set -eu
out=$1
shift
hash=$(cat "$@" | sha256sum | cut -c1-16)
cat > "$out" <<END
/* tenon/draft.h: generated; identifies the text of the headers that draft (/0) interfaces were built from. */
#ifndef TENON_DRAFT_H
#define TENON_DRAFT_H
#define TN_DRAFT_HASH "$hash"
#endif
END
