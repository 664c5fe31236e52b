/* sdk/check/check_tables.c: quantization, tokenizer and front-end tables, as far as they can be tried without a model.
 */
#include "check/checks.h"

#include <string.h>

static tn_status no_tensor_at(const tn_source *source, uint32_t index, tn_tensor_src *ret_tensor)
{
    (void)source, (void)index, (void)ret_tensor;
    return TN_E_NOT_FOUND;
}

static tn_status no_tensor(const tn_source *source, const char *name, tn_tensor_src *ret_tensor)
{
    (void)source, (void)name, (void)ret_tensor;
    return TN_E_NOT_FOUND;
}

static tn_status no_meta(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    (void)source, (void)key, (void)ret_meta;
    return TN_E_NOT_FOUND;
}

static tn_status no_element(const tn_source *source, const char *key, uint64_t index, tn_meta *ret_meta)
{
    (void)source, (void)key, (void)index, (void)ret_meta;
    return TN_E_NOT_FOUND;
}

static const char *no_key(const tn_source *source, uint32_t index)
{
    (void)source, (void)index;
    return NULL;
}

/* A checkpoint without tensors and metadata, of a container that no one knows. */
static const tn_source empty_source = {
    .struct_size = sizeof empty_source,
    .container = "tenon-check",
    .path = "an empty checkpoint",
    .tensor_at = no_tensor_at,
    .tensor = no_tensor,
    .meta = no_meta,
    .meta_element = no_element,
    .meta_key = no_key,
};

static void judge_open(report *report, tn_status status, const void *opened)
{
    if (status != TN_E_NOT_FOUND)
        report_fail(report, "open answered \"%s\"; expected TN_E_NOT_FOUND, so that the next plugin is asked",
                    tn_status_text(status));
    else if (opened)
        report_fail(report, "open failed but changed its output; outputs stay untouched on failure");
    else
        report_pass(report, "open answers TN_E_NOT_FOUND");
}

void check_quant(report *report, const tn_quant_table *table)
{
    tn_error err = TN_ERROR_INIT;
    tn_qmodel *qmodel = NULL;
    report_begin("tn.quant, an empty checkpoint");
    judge_open(report, table->open(&empty_source, &qmodel, &err), qmodel);
    report_begin("tn.quant, close(NULL)");
    table->close(NULL);
    report_pass(report, "does nothing");
}

void check_tokenizer(report *report, const tn_tokenizer_table *table)
{
    tn_error err = TN_ERROR_INIT;
    tn_tok *tok = NULL;
    report_begin("tn.tokenizer, an empty checkpoint");
    judge_open(report, table->open(&empty_source, &tok, &err), tok);
    report_begin("tn.tokenizer, close(NULL)");
    table->close(NULL);
    report_pass(report, "does nothing");
}

void check_frontend(report *report, const tn_frontend_table *table)
{
    report_begin("tn.frontend, stop(NULL)");
    table->stop(NULL);
    report_pass(report, "does nothing");
}
