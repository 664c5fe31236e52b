/* metrics.c: Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). Series of one name
 * come together from tn.stats, so HELP and TYPE are written when the name changes. */
#include "json_writer.h"
#include "status_pages.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { SERIES_MAX = 4096 };

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
static void write_series(const tn_front *front, const char *prefix, const tn_stat *stat, const char *suffix,
                         const char *le, byte_buffer *out)
{
    byte_buffer_print(out, "%s:%s%s{model_name=", prefix, stat->name, suffix);
    write_label_value(front->info.served_names[0], out);
    if (stat->label) {
        byte_buffer_print(out, ",%s=", stat->label);
        write_label_value(stat->label_value ? stat->label_value : "", out);
    }
    if (le)
        byte_buffer_print(out, ",le=\"%s\"", le);
    byte_buffer_text(out, "} ");
}

static void write_histogram(const tn_front *front, const char *prefix, const tn_stat *stat, byte_buffer *out)
{
    char le[32];

    for (uint32_t i = 0; i < stat->bucket_count; i++) {
        snprintf(le, sizeof le, "%.12g", stat->bound[i]);
        write_series(front, prefix, stat, "_bucket", le, out);
        byte_buffer_print(out, "%" PRIu64 "\n", stat->bucket[i]);
    }
    write_series(front, prefix, stat, "_bucket", "+Inf", out);
    byte_buffer_print(out, "%" PRIu64 "\n", stat->count);
    write_series(front, prefix, stat, "_sum", NULL, out);
    write_number(stat->value, out);
    byte_buffer_text(out, "\n");
    write_series(front, prefix, stat, "_count", NULL, out);
    byte_buffer_print(out, "%" PRIu64 "\n", stat->count);
}

static void write_all(const tn_front *front, const char *prefix, byte_buffer *out)
{
    static const char *const kinds[] = {
        [TN_STAT_COUNTER] = "counter", [TN_STAT_GAUGE] = "gauge", [TN_STAT_HISTOGRAM] = "histogram"};
    char previous[128] = "";

    for (uint32_t i = 0; i < SERIES_MAX; i++) {
        tn_stat stat = {.struct_size = sizeof stat};
        if (front->stats->stat(front->engine, i, &stat) != TN_OK)
            break;
        if (stat.kind < TN_STAT_COUNTER || stat.kind > TN_STAT_HISTOGRAM)
            continue; /* from a newer minor */
        if (strcmp(previous, stat.name) != 0) {
            byte_buffer_print(out, "# HELP %s:%s%s %s\n# TYPE %s:%s%s %s\n", prefix, stat.name, counter_suffix(&stat),
                              stat.help ? stat.help : "", prefix, stat.name, counter_suffix(&stat), kinds[stat.kind]);
            snprintf(previous, sizeof previous, "%s", stat.name);
        }
        if (stat.kind == TN_STAT_HISTOGRAM) {
            write_histogram(front, prefix, &stat, out);
            continue;
        }
        write_series(front, prefix, &stat, counter_suffix(&stat), NULL, out);
        write_number(stat.value, out);
        byte_buffer_text(out, "\n");
    }
}

void metrics_write(const tn_front *front, byte_buffer *out)
{
    write_all(front, "tenon", out);
    if (front->options.vllm_metric_names)
        write_all(front, "vllm", out);
}
