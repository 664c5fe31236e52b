/* metrics.c: Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). All series of a name
 * stand together behind its HELP and TYPE, whichever model they are of. */
#include "json_writer.h"
#include "model.h"
#include "status_pages.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES_MAX = 4096, FAMILIES_MAX = 256 };

/* Label values escape backslash, quote and line feed. */
static void write_label_value(const char *value, byte_buffer *out)
{
    byte_buffer_text(out, "\"");
    for (; *value; value++) {
        if (*value == '\n')
            byte_buffer_text(out, "\\n");
        else if (*value == '"' || *value == '\\')
            byte_buffer_print(out, "\\%c", *value);
        else
            byte_buffer_append(out, value, 1);
    }
    byte_buffer_text(out, "\"");
}

static void write_number(double value, byte_buffer *out)
{
    char digits[40];

    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    if (isnan(value))
        byte_buffer_text(out, "NaN");
    else if (isinf(value))
        byte_buffer_text(out, value > 0 ? "+Inf" : "-Inf");
    else
        byte_buffer_text(out, digits);
}

/* Counters end in _total, which Prometheus clients (vLLM's among them) add to names that lack it. */
static const char *counter_suffix(const tn_stat *stat)
{
    static const char total[] = "_total";
    size_t bytes = strlen(stat->name), suffix = sizeof total - 1;
    bool has = bytes >= suffix && strcmp(stat->name + bytes - suffix, total) == 0;
    return stat->kind == TN_STAT_COUNTER && !has ? total : "";
}

/* prefix:name_suffix{model_name="...",label="...",le="..."} and a blank; le: NULL for none. */
static void write_series(const char *model_name, const char *prefix, const tn_stat *stat, const char *suffix,
                         const char *le, byte_buffer *out)
{
    byte_buffer_print(out, "%s:%s%s{model_name=", prefix, stat->name, suffix);
    write_label_value(model_name, out);
    if (stat->label) {
        byte_buffer_print(out, ",%s=", stat->label);
        write_label_value(stat->label_value ? stat->label_value : "", out);
    }
    if (le)
        byte_buffer_print(out, ",le=\"%s\"", le);
    byte_buffer_text(out, "} ");
}

static void write_histogram(const char *model_name, const char *prefix, const tn_stat *stat, byte_buffer *out)
{
    char le[32];

    for (uint32_t i = 0; i < stat->bucket_count; i++) {
        snprintf(le, sizeof le, "%.12g", stat->bound[i]);
        write_series(model_name, prefix, stat, "_bucket", le, out);
        byte_buffer_print(out, "%" PRIu64 "\n", stat->bucket[i]);
    }
    write_series(model_name, prefix, stat, "_bucket", "+Inf", out);
    byte_buffer_print(out, "%" PRIu64 "\n", stat->count);
    write_series(model_name, prefix, stat, "_sum", NULL, out);
    write_number(stat->value, out);
    byte_buffer_text(out, "\n");
    write_series(model_name, prefix, stat, "_count", NULL, out);
    byte_buffer_print(out, "%" PRIu64 "\n", stat->count);
}

static void write_stat(const char *model_name, const char *prefix, const tn_stat *stat, byte_buffer *out)
{
    if (stat->kind == TN_STAT_HISTOGRAM) {
        write_histogram(model_name, prefix, stat, out);
        return;
    }
    write_series(model_name, prefix, stat, counter_suffix(stat), NULL, out);
    write_number(stat->value, out);
    byte_buffer_text(out, "\n");
}

/* ---- families: all series of one name, of all models, stand together ---- */

typedef struct metric_family {
    char name[128];
    uint32_t kind;
    byte_buffer text[2]; /* by prefix */
} metric_family;

typedef struct metric_page {
    metric_family family[FAMILIES_MAX];
    uint32_t count;
} metric_page;

static const char *const prefixes[2] = {"tenon", "vllm"};

static metric_family *find_family(metric_page *page, const tn_stat *stat)
{
    static const char *const kinds[] = {
        [TN_STAT_COUNTER] = "counter", [TN_STAT_GAUGE] = "gauge", [TN_STAT_HISTOGRAM] = "histogram"};

    for (uint32_t i = 0; i < page->count; i++)
        if (strcmp(page->family[i].name, stat->name) == 0)
            return page->family[i].kind == stat->kind ? &page->family[i] : NULL;
    if (page->count == FAMILIES_MAX || strlen(stat->name) >= sizeof page->family->name)
        return NULL;
    metric_family *family = &page->family[page->count++];
    snprintf(family->name, sizeof family->name, "%s", stat->name);
    family->kind = stat->kind;
    for (int p = 0; p < 2; p++)
        byte_buffer_print(&family->text[p], "# HELP %s:%s%s %s\n# TYPE %s:%s%s %s\n", prefixes[p], stat->name,
                          counter_suffix(stat), stat->help ? stat->help : "", prefixes[p], stat->name,
                          counter_suffix(stat), kinds[stat->kind]);
    return family;
}

static void collect(tn_front *front, tn_engine *engine, const tn_engine_info *info, void *ctx)
{
    for (uint32_t i = 0; i < SERIES_MAX; i++) {
        tn_stat stat = {.struct_size = sizeof stat};
        if (front->stats->stat(engine, i, &stat) != TN_OK)
            break;
        if (stat.kind < TN_STAT_COUNTER || stat.kind > TN_STAT_HISTOGRAM)
            continue; /* from a newer minor */
        metric_family *family = find_family(ctx, &stat);
        for (int p = 0; family && p < 2; p++)
            write_stat(info->served_names[0], prefixes[p], &stat, &family->text[p]);
    }
}

void metrics_write(tn_front *front, byte_buffer *out)
{
    metric_page *page = calloc(1, sizeof *page);
    if (!page) {
        out->failed = true;
        return;
    }
    models_visit(front, collect, page);
    byte_buffer_reserve(out, 1); /* no model, no line: an answer all the same */
    for (int p = 0; p < (front->options.vllm_metric_names ? 2 : 1); p++)
        for (uint32_t i = 0; i < page->count; i++)
            byte_buffer_join(out, &page->family[i].text[p]);
    for (uint32_t i = 0; i < page->count; i++) {
        byte_buffer_finish(&page->family[i].text[0]);
        byte_buffer_finish(&page->family[i].text[1]);
    }
    free(page);
}
