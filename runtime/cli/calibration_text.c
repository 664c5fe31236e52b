/* calibration_text.c: the model runs in the reference interpreter, over the ops that the quantizer gives. */
#include "cli/calibration_text.h"

#include "cli/forward.h"
#include "engine/siphash.h"
#include "tenon/interp.h"

#include <stdlib.h>

enum { CHUNK_ROWS = 128 }; /* of logits, which are allocated though nobody reads them */

static tn_status load_model(calibration_text *c, const tn_ops_table *ops, tn_error *err)
{
    instance *in = &c->session.instance;

    in->seqs_max = 1;
    in->context_max = c->text.tokens;
    in->outputs_min = CHUNK_ROWS;
    in->weights.float_type = 0;
    tn_status status = tn_interp_backend(ops, &in->backend, err);
    if (status == TN_OK)
        status = session_advance(&c->session, STAGE_MODEL, STAGE_LOADED, err);
    c->loaded = status == TN_OK;
    progress_start("calibrating", "sequences");
    return status;
}

static tn_status run_sequence(void *ctx, const tn_ops_table *ops, uint32_t sequence, tn_error *err)
{
    calibration_text *c = ctx;
    uint64_t at = c->count / c->text.sequences * sequence;
    tn_status status = c->loaded ? TN_OK : load_model(c, ops, err);

    if (status != TN_OK)
        return status;
    return forward_sequence(&c->session.instance, c->ids + at, c->text.tokens, false, NULL, NULL, err);
}

static bool is_long_enough(const calibration_text *c, const char *path)
{
    uint64_t needed = (uint64_t)c->text.sequences * c->text.tokens;

    if (c->text.tokens > c->session.instance.config.context) {
        fprintf(stderr, "tenon: sequences of %u tokens, the model reads %u: give a smaller --sequence-length\n",
                c->text.tokens, c->session.instance.config.context);
        return false;
    }
    if (c->count >= needed)
        return true;
    fprintf(stderr,
            "tenon: %s has %llu tokens, %u samples of %u need %llu: give a longer text, or --samples of at most %llu\n",
            path, (unsigned long long)c->count, c->text.sequences, c->text.tokens, (unsigned long long)needed,
            (unsigned long long)(c->count / c->text.tokens));
    return false;
}

bool calibration_text_open(calibration_text *c, args *args, const char *path, uint32_t samples, uint32_t tokens)
{
    static const uint64_t key[2] = {0x63616c6962726174u, 0x696f6e2074657874u};
    uint64_t bytes;

    *c = (calibration_text){.text = {.sequences = samples, .tokens = tokens, .run = run_sequence, .ctx = c}};
    char *text = read_input(path, &bytes);
    if (!text)
        return false;
    c->open = session_open(&c->session, args, STAGE_MODEL) < 0;
    c->ids = c->open ? tokenize_text(&c->session.instance, text, bytes, 0, &c->count) : NULL;
    free(text);
    if (!c->ids || !is_long_enough(c, path))
        return false;
    hash128 hash = siphash_128(key, c->ids, c->count * sizeof *c->ids);
    c->text.hash[0] = hash.low;
    c->text.hash[1] = hash.high;
    return true;
}

void calibration_text_close(calibration_text *c)
{
    free(c->ids);
    if (c->open)
        session_close(&c->session);
    *c = (calibration_text){0};
}
