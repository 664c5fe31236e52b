/* sdk/check/check_probe.c: what a backend must answer on any machine, device present or not. */
#include "check/checks.h"

#include "check/small_model.h"

#include <string.h>

enum { DEVICES_MAX = 64, BAD_NODES = 8 };

static bool terminated(const char *text, size_t n)
{
    return memchr(text, 0, n) && *text;
}

/* Leaves the first device in *info, or one made up when there is none. */
static void check_devices(report *report, const tn_backend *table, tn_devinfo *info)
{
    uint32_t count = 0;
    report_begin("devices");
    for (; count <= DEVICES_MAX; count++) {
        tn_error err = TN_ERROR_INIT;
        tn_devinfo found = {.struct_size = sizeof found};
        tn_status status = table->device(count, &found, &err);
        if (status == TN_E_NOT_FOUND)
            break;
        if (status != TN_OK || !terminated(found.name, sizeof found.name) ||
            !terminated(found.mem_domain, sizeof found.mem_domain) ||
            !memchr(found.features, 0, sizeof found.features) || found.mem_total == 0 ||
            found.mem_free > found.mem_total) {
            report_fail(report,
                        "device %u: %s; expected name, mem_domain and 0 <= mem_free <= mem_total, or TN_E_NOT_FOUND",
                        count, status == TN_OK ? "incomplete description" : report_reason(status, &err));
            return;
        }
        if (count == 0)
            *info = found;
    }
    if (count > DEVICES_MAX)
        report_fail(report, "more than %d; device() must answer TN_E_NOT_FOUND past the last", DEVICES_MAX);
    else
        report_pass(report, "%u, the first is %s", count, count ? info->name : "made up for what follows");
}

static void check_accepts(report *report, const tn_backend *table, const tn_devinfo *info, const small_model *model)
{
    report_begin("accepts bf16");
    for (uint32_t id = 0; id < model->api->weight_count; id++) {
        tn_error err = TN_ERROR_INIT;
        uint32_t cost = 0, value = model_graph_weight_value(model->graph, id);
        tn_status status = table->accepts(info, model->graph, model->api, value, &model->enc[id], &cost, &err);
        if (status == TN_OK)
            continue;
        report_fail(report, "weight %s: %s; bf16 is mandatory, so that every checkpoint can be loaded",
                    model_graph_weight_name(model->graph, id), report_reason(status, &err));
        return;
    }
    report_pass(report, "for all %u weights of a small Llama", model->api->weight_count);
}

static void check_nodes(report *report, const tn_backend *table, const tn_devinfo *info, const small_model *model)
{
    uint32_t bad[BAD_NODES], count = BAD_NODES;
    tn_error err = TN_ERROR_INIT;
    report_begin("check");
    tn_status status = table->check(info, &model->compile, bad, &count, &err);
    if (status == TN_OK && count == 0)
        report_pass(report, "all %u nodes of a small Llama", model->api->node_count);
    else if (status == TN_OK)
        report_fail(report, "answers TN_OK but names %u nodes", count);
    else
        report_fail(report, "%u of %u nodes of a small Llama are not supported, the first is %u: %s", count,
                    model->api->node_count, count ? bad[0] : 0, report_reason(status, &err));
}

/* One sizing with its arrays, comparable as bytes. */
typedef struct sizing {
    uint32_t page_tokens[SMALL_GROUPS];
    uint64_t page_bytes[SMALL_GROUPS];
    tn_memplan plan;
} sizing;

static tn_status size_up(const small_model *model, const tn_backend *table, const tn_devinfo *info, sizing *ret_sizing,
                         tn_error *err)
{
    *ret_sizing = (sizing){.plan = {0}};
    tn_status status =
        small_model_plan(model, table, info, ret_sizing->page_tokens, ret_sizing->page_bytes, &ret_sizing->plan, err);
    ret_sizing->plan.page_tokens = NULL;
    ret_sizing->plan.page_bytes = NULL;
    return status;
}

static bool same_sizing(const sizing *a, const sizing *b)
{
    const tn_memplan *p = &a->plan, *q = &b->plan;
    return !memcmp(a->page_tokens, b->page_tokens, sizeof a->page_tokens) &&
           !memcmp(a->page_bytes, b->page_bytes, sizeof a->page_bytes) && p->weights == q->weights &&
           p->load_peak == q->load_peak && p->activations == q->activations && p->logits == q->logits &&
           p->comms == q->comms && p->reserve == q->reserve;
}

static void check_plan(report *report, const tn_backend *table, const tn_devinfo *info, const small_model *model)
{
    sizing first, second, wider;
    small_model wide = *model;
    tn_error err = TN_ERROR_INIT;
    wide.compile.max_tokens *= 4;
    wide.compile.max_outputs *= 4;
    report_begin("plan");
    tn_status status = size_up(model, table, info, &first, &err);
    if (status == TN_OK)
        status = size_up(model, table, info, &second, &err);
    if (status == TN_OK)
        status = size_up(&wide, table, info, &wider, &err);
    if (status != TN_OK)
        report_fail(report, "%s", report_reason(status, &err));
    else if (!same_sizing(&first, &second))
        report_fail(report, "two calls with equal arguments differ; a plan must be a pure function");
    else if (first.page_tokens[0] == 0 || first.page_bytes[0] == 0 || first.plan.weights == 0)
        report_fail(report, "weights, page_tokens and page_bytes must not be 0");
    else if (wider.plan.activations < first.plan.activations || wider.plan.logits < first.plan.logits)
        report_fail(report, "four times as many rows need less memory");
    else
        report_pass(report, "pages of %u tokens, %llu bytes each; weights %llu bytes", first.page_tokens[0],
                    (unsigned long long)first.page_bytes[0], (unsigned long long)first.plan.weights);
}

void check_backend_probe(report *report, const tn_backend *table)
{
    tn_error err = TN_ERROR_INIT;
    small_model model;
    tn_devinfo info = {.struct_size = sizeof info,
                       .mem_total = 8ull << 30,
                       .mem_free = 8ull << 30,
                       .name = "described",
                       .mem_domain = "host"};
    check_devices(report, table, &info);
    report_begin("small model");
    if (small_model_init(&model, &err) != TN_OK) {
        report_fail(report, "%s", err.msg);
    } else {
        check_accepts(report, table, &info, &model);
        check_nodes(report, table, &info, &model);
        check_plan(report, table, &info, &model);
    }
    small_model_finish(&model);

    report_begin("model_free(NULL), close(NULL)");
    table->model_free(NULL);
    table->close(NULL);
    report_pass(report, "do nothing");
}
