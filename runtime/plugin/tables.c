/* runtime/plugin/tables.c: the members of each table the core adopts, in the order of their headers, and the stubs that
 * stand in for optional ones.
 *
 * Whether a member is mandatory is said in its comment in the SDK header; this list must agree.
 */
#include "plugin/adopt.h"

#include "tenon/backend.h"
#include "tenon/frontend.h"
#include "tenon/ops.h"
#include "tenon/quant.h"
#include "tenon/tokenizer.h"

/* ---- stubs ---- */

static tn_status check_supports_all(const tn_devinfo *info, const tn_compile *compile, uint32_t *bad,
                                    uint32_t *bad_count, tn_error *err)
{
    (void)info, (void)compile, (void)bad, (void)err;
    *bad_count = 0;
    return TN_OK;
}

static tn_status warmup_does_nothing(tn_model *model, uint32_t tokens, tn_error *err)
{
    (void)model, (void)tokens, (void)err;
    return TN_OK;
}

static void abort_does_nothing(tn_dev *dev)
{
    (void)dev;
}

static tn_status run_supports_nothing(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    (void)dev, (void)args;
    return tn_fail(err, TN_E_UNSUPPORTED, "this device runs no node itself");
}

/* ---- tables ---- */

static const adopt_member backend_members[] = {
    ADOPT_MANDATORY(tn_backend, device),
    ADOPT_MANDATORY(tn_backend, accepts),
    ADOPT_MANDATORY(tn_backend, plan),
    ADOPT_OPTIONAL(tn_backend, check, check_supports_all),
    ADOPT_MANDATORY(tn_backend, open),
    ADOPT_MANDATORY(tn_backend, close),
    ADOPT_MANDATORY(tn_backend, compile),
    ADOPT_MANDATORY(tn_backend, weight),
    ADOPT_MANDATORY(tn_backend, seal),
    ADOPT_MANDATORY(tn_backend, kv_reserve),
    ADOPT_OPTIONAL(tn_backend, warmup, warmup_does_nothing),
    ADOPT_MANDATORY(tn_backend, submit),
    ADOPT_MANDATORY(tn_backend, wait),
    ADOPT_OPTIONAL(tn_backend, kv_copy, NULL), /* the engine shares pages differently without it */
    ADOPT_OPTIONAL(tn_backend, abort, abort_does_nothing),
    ADOPT_MANDATORY(tn_backend, model_free),
};

static const adopt_member ops_members[] = {
    ADOPT_MANDATORY(tn_ops_table, device),
    ADOPT_MANDATORY(tn_ops_table, open),
    ADOPT_MANDATORY(tn_ops_table, close),
    ADOPT_MANDATORY(tn_ops_table, alloc),
    ADOPT_MANDATORY(tn_ops_table, free),
    ADOPT_MANDATORY(tn_ops_table, put),
    ADOPT_MANDATORY(tn_ops_table, get),
    ADOPT_MANDATORY(tn_ops_table, sync),
    ADOPT_OPTIONAL(tn_ops_table, run, run_supports_nothing),
    ADOPT_OPTIONAL(tn_ops_table, map, NULL), /* the interpreter copies without it */
};

static const adopt_member quant_members[] = {
    ADOPT_MANDATORY(tn_quant_table, open),         ADOPT_MANDATORY(tn_quant_table, close),
    ADOPT_MANDATORY(tn_quant_table, shape),        ADOPT_MANDATORY(tn_quant_table, produces),
    ADOPT_MANDATORY(tn_quant_table, transcode),    ADOPT_MANDATORY(tn_quant_table, reference),
    ADOPT_OPTIONAL(tn_quant_table, formats, NULL),
};

static const adopt_member tokenizer_members[] = {
    ADOPT_MANDATORY(tn_tokenizer_table, open),       ADOPT_MANDATORY(tn_tokenizer_table, close),
    ADOPT_MANDATORY(tn_tokenizer_table, vocab_size), ADOPT_MANDATORY(tn_tokenizer_table, encode),
    ADOPT_MANDATORY(tn_tokenizer_table, piece),      ADOPT_MANDATORY(tn_tokenizer_table, special),
    ADOPT_MANDATORY(tn_tokenizer_table, attributes),
};

static const adopt_member frontend_members[] = {
    ADOPT_MANDATORY(tn_frontend_table, start),
    ADOPT_MANDATORY(tn_frontend_table, address),
    ADOPT_MANDATORY(tn_frontend_table, drain),
    ADOPT_MANDATORY(tn_frontend_table, stop),
};

/* adopt() asserts that the members listed reach exactly to the struct's end. */
#define TABLE(id, type, first, members)                                                       \
    {                                                                                         \
        id, sizeof(type), offsetof(type, first), sizeof(members) / sizeof *(members), members \
    }

const adopt_table adopt_backend = TABLE(TN_BACKEND_ID, tn_backend, device, backend_members);
const adopt_table adopt_ops = TABLE(TN_OPS_ID, tn_ops_table, device, ops_members);
const adopt_table adopt_quant = TABLE(TN_QUANT_ID, tn_quant_table, open, quant_members);
const adopt_table adopt_tokenizer = TABLE(TN_TOKENIZER_ID, tn_tokenizer_table, open, tokenizer_members);
const adopt_table adopt_frontend = TABLE(TN_FRONTEND_ID, tn_frontend_table, start, frontend_members);
