/* runtime/quantize/kept_shards.h: shards that an earlier run left in the destination. */
#ifndef QUANTIZE_KEPT_SHARDS_H
#define QUANTIZE_KEPT_SHARDS_H

#include "quantize/provenance.h"

/* Whether the shard is there: byte for byte the header that it would get, and as long as that says. A file of its name
 * that is another is TN_E_ARGUMENT, which says what it was made from. */
tn_status kept_shards_find(const char *directory, const shard *shard, const provenance *provenance, bool *ret_found,
                           tn_error *err);
/* The same for safetensors of other names: other settings cut other shards, and readers that take all files would mix
 * them with ours. */
tn_status kept_shards_refuse_strangers(const char *directory, const shard_plan *plan, const provenance *provenance,
                                       tn_error *err);

#endif
