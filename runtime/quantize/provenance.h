/* runtime/quantize/provenance.h: what a quantized checkpoint is made from, and how, as words that files carry along.
 *
 * A run that goes on where another stopped must have the same source, text and settings; what it finds says so itself:
 * shards in their metadata, the calibration's log in its head. The source enters with the SHA-256 of all its tensors'
 * bytes, not with names, sizes or times.
 */
#ifndef QUANTIZE_PROVENANCE_H
#define QUANTIZE_PROVENANCE_H

#include "quantize/shards.h"

#include <jansson.h>

enum { PROVENANCE_FACTS = 8, PROVENANCE_VALUE_BYTES = 72 };

/* Values by provenance.c's list of facts; "" where a method has no such fact. */
typedef struct provenance {
    char value[PROVENANCE_FACTS][PROVENANCE_VALUE_BYTES];
} provenance;

/* Reads every byte of the source's tensors once, on all processors, dropping pages behind itself. */
tn_status provenance_take(provenance *provenance, const quantize_request *request, const shard_plan *plan,
                          const checkpoint *checkpoint, weights_progress progress, tn_error *err);
/* An object of strings, as safetensors' __metadata__; NULL: no memory. */
json_t *provenance_json(const provenance *provenance);
char *provenance_text(const provenance *provenance); /* malloc'ed JSON; NULL: no memory */
/* The text, found in `path`, is that of this run; else TN_E_ARGUMENT says what differs, and what to do. */
tn_status provenance_check(const provenance *provenance, const char *text, uint64_t bytes, const char *path,
                           tn_error *err);
tn_status provenance_check_json(const provenance *provenance, const json_t *object, const char *path, tn_error *err);
/* TN_E_ARGUMENT: `path` does not say what it was made from. */
tn_status provenance_refuse_stranger(const char *path, tn_error *err);

#endif
