/* tests/reference/family_case.h: the tiny models of all families (golden/families.json), as directories that a test may
 * change, and their logits by transformers.
 */
#ifndef TESTS_FAMILY_CASE_H
#define TESTS_FAMILY_CASE_H

#include "model_rig.h"

#include <jansson.h>

enum { FAMILY_PROMPT = 300, FAMILY_VOCAB = 96 };

/* The folder golden/, as an absolute path: TENON_GOLDEN, or where it was when this was built. */
const char *golden_folder(void);

/* Group set-up and tear-down: the golden file. */
int family_golden_load(void **state);
int family_golden_drop(void **state);
uint32_t family_count(void);
const char *family_name(uint32_t index);
/* Whether this program is built to run that family: any, or those that FAMILIES_RUN names. */
bool family_is_run(const char *name);
const int32_t *family_prompt(void);

/* A directory under TMPDIR with the case's config.json, changed by `edit` (an object whose members replace the
 * config's, null: taken away; NULL: nothing), and a link to its weights. path: at least 256 bytes. */
void family_directory_make(const char *name, const char *edit, char *path);
void family_directory_remove(const char *path);

/* max |difference| / max |logit| over the positions that the golden file has. logits: [FAMILY_PROMPT, FAMILY_VOCAB] */
double family_error(const char *name, const float *logits);

/* How far logits are from those that transformers computes in bfloat16. Where its own are within `bound` of its float32
 * ones, that is the measure; elsewhere it cannot be, and is how far ours are from float32 for every step of theirs. */
typedef struct family_bfloat16 {
    uint32_t near_count, far_count; /* golden positions of either kind; both 0: the golden file has none */
    double near_error;              /* max |difference from bfloat16| / max |logit| */
    double far_ratio;               /* max of |ours - float32| / |theirs - float32|: below 1 is nearer */
    double own_error;               /* max |theirs - float32| / max |logit|, of either kind */
} family_bfloat16;
family_bfloat16 family_compare_bfloat16(const char *name, const float *logits, double bound);
/* For backends that round to bfloat16 between products, as transformers does in bfloat16: how many golden positions
 * below `count` are further from float32 than `bound` of the largest logit and than their own worst position (a case
 * without bfloat16 logits takes the one that shares its files). *ret_share: of what is allowed, the most that was used.
 */
uint32_t family_beyond_bfloat16(const char *name, const float *logits, uint32_t count, double bound, double *ret_share);

/* The backend that this program was built for, and where its KV cache is exact. */
const tn_backend *family_backend(void);
/* Opens the directory with room for the whole prompt in one batch. */
void family_open(model_rig *rig, const char *path, uint32_t kv_dtype, void (*edit)(model_config *config));
/* The prompt as one batch in slot 0. */
void family_run(model_rig *rig, float *logits);

#endif
