/* tests/unit/ruler_backend.h: a backend that only plans, by the book: every matrix cut evenly by its shard annotation,
 * keys and values in bf16, nothing rounded. For tests of planning over several ranks, where no device backend is
 * needed.
 */
#ifndef TESTS_RULER_BACKEND_H
#define TESTS_RULER_BACKEND_H

#include "tenon/backend.h"

enum { RULER_PAGE_TOKENS = 16 };
/* Bytes beside weights and KV, on each rank. */
#define RULER_ACTIVATIONS(compile) ((uint64_t)(compile)->max_tokens * 16384)
#define RULER_LOGITS(compile)      ((uint64_t)(compile)->max_outputs * 1048576)
#define RULER_RESERVE              (512ull << 20)

extern const tn_backend ruler_backend;

#endif
