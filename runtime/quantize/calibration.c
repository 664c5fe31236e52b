/* runtime/quantize/calibration.c: records of the sequences; the log is in calibration_log.c. */
#include "quantize/calibration.h"

#include "engine/siphash.h"
#include "quantize/input_tap.h"
#include "quantize/scale_search.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Rows of all sequences together that are aimed at: enough for the errors of scales to be compared, and for the
 * correlations within a group of 128 columns. */
enum { ROWS_WANTED = 512 };

static tn_status lay_out(calibration *c, tn_error *err)
{
    uint32_t sequences = c->text->sequences, count = c->groups.count ? c->groups.count : 1;

    c->sequence_rows = (ROWS_WANTED + sequences - 1) / sequences;
    c->sequence_rows = c->sequence_rows < 2 ? 2 : c->sequence_rows; /* input_tap's first, and one more */
    c->sequence_rows = c->sequence_rows < c->text->tokens ? c->sequence_rows : c->text->tokens;
    c->sums_at = calloc(count, sizeof *c->sums_at);
    c->rows_at = calloc(count, sizeof *c->rows_at);
    c->records = calloc(sequences, sizeof *c->records);
    c->scales = calloc(count, sizeof *c->scales);
    if (!c->sums_at || !c->rows_at || !c->records || !c->scales)
        return tn_fail(err, TN_E_MEMORY, "records of %u sequences", sequences);
    for (uint32_t g = 0; g < c->groups.count; g++) {
        c->sums_at[g] = c->record_bytes;
        c->record_bytes += c->groups.groups[g].columns * sizeof(double);
    }
    for (uint32_t g = 0; g < c->groups.count; g++) {
        c->rows_at[g] = c->record_bytes;
        c->record_bytes += c->groups.groups[g].columns * c->sequence_rows * sizeof(float);
    }
    return TN_OK;
}

/* What the records and scales depend on: the text, the model and the settings. The weights enter by their headers, as
 * those of the shards do. */
static void take_fingerprint(const calibration *c, const shard_plan *plan, uint64_t ret_fingerprint[2])
{
    hash128 hash = {c->text->hash[0], c->text->hash[1]};
    const uint64_t facts[] = {c->text->sequences, c->text->tokens,    c->record_bytes,
                              plan->group_size,   plan->source_bytes, plan->quantized};
    const uint64_t key[2] = {hash.low, hash.high};

    hash = siphash_128(key, facts, sizeof facts);
    ret_fingerprint[0] = hash.low;
    ret_fingerprint[1] = hash.high;
}

static tn_status log_path(const char *directory, char ret_path[CALIBRATION_PATH_BYTES], tn_error *err)
{
    int bytes = snprintf(ret_path, CALIBRATION_PATH_BYTES, "%s/calibration.partial", directory);
    if (bytes < 0 || bytes >= CALIBRATION_PATH_BYTES)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the path is too long", directory);
    return TN_OK;
}

tn_status calibration_open(calibration *c, const quantize_request *request, const tn_graph *graph,
                           const shard_plan *plan, tn_error *err)
{
    uint64_t fingerprint[2];

    *c = (calibration){.text = request->text, .log = -1};
    tn_status status = log_path(request->destination, c->path, err);
    if (status == TN_OK)
        status = scale_groups_init(&c->groups, graph, plan, err);
    if (status == TN_OK)
        status = lay_out(c, err);
    if (status != TN_OK)
        return status;
    take_fingerprint(c, plan, fingerprint);
    return calibration_log_open(c, fingerprint, err);
}

void calibration_close(calibration *c)
{
    for (uint32_t i = 0; c->records && i < c->text->sequences; i++)
        free(c->records[i]);
    for (uint32_t g = 0; c->scales && g < c->groups.count; g++)
        free(c->scales[g]);
    free(c->records);
    free(c->scales);
    free(c->sums_at);
    free(c->rows_at);
    scale_groups_finish(&c->groups);
    if (c->text && c->log >= 0)
        close(c->log);
    *c = (calibration){.log = -1};
}

tn_status calibration_remove_log(const char *directory, tn_error *err)
{
    char path[CALIBRATION_PATH_BYTES];
    tn_status status = log_path(directory, path, err);

    if (status != TN_OK || unlink(path) == 0 || errno == ENOENT)
        return status;
    return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
}

/* ---- sequences ---- */

static tn_status run_sequence(calibration *c, uint32_t sequence, tn_error *err)
{
    unsigned char *record = calloc(1, c->record_bytes ? c->record_bytes : 1);

    if (!record)
        return tn_fail(err, TN_E_MEMORY, "a record of %llu bytes", (unsigned long long)c->record_bytes);
    input_tap_start(c, record);
    tn_status status = c->text->run(c->text->ctx, input_tap_ops(), sequence, err);
    bool whole = input_tap_stop();
    if (status == TN_OK && !whole)
        status = tn_fail(err, TN_E_CORRUPT, "sequence %u gives values that are not finite numbers", sequence);
    if (status == TN_OK)
        status = calibration_log_add(c, LOG_SEQUENCE, sequence, record, c->record_bytes, err);
    if (status == TN_OK)
        c->records[sequence] = record;
    else
        free(record);
    return status;
}

tn_status calibration_run(calibration *c, weights_progress progress, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < c->text->sequences && status == TN_OK; i++) {
        if (!c->records[i])
            status = run_sequence(c, i, err);
        if (status == TN_OK && progress.report)
            progress.report(progress.ctx, i + 1, c->text->sequences);
    }
    return status;
}

void calibration_means(const calibration *c, uint32_t group, double *ret_means)
{
    uint64_t columns = c->groups.groups[group].columns;
    double tokens = (double)c->text->sequences * (double)c->text->tokens;

    memset(ret_means, 0, columns * sizeof *ret_means);
    for (uint32_t i = 0; i < c->text->sequences; i++) {
        const double *sums = (const double *)(const void *)(c->records[i] + c->sums_at[group]);
        for (uint64_t k = 0; k < columns; k++)
            ret_means[k] += sums[k];
    }
    for (uint64_t k = 0; k < columns; k++)
        ret_means[k] /= tokens;
}

uint64_t calibration_row_count(const calibration *c)
{
    return (uint64_t)c->text->sequences * c->sequence_rows;
}

void calibration_rows(const calibration *c, uint32_t group, float *ret_rows)
{
    uint64_t bytes = c->groups.groups[group].columns * c->sequence_rows * sizeof(float);
    for (uint32_t i = 0; i < c->text->sequences; i++)
        memcpy((unsigned char *)ret_rows + i * bytes, c->records[i] + c->rows_at[group], bytes);
}

/* ---- scales ---- */

static tn_status find_scales(calibration *c, uint32_t group, const tn_source *source, uint32_t group_size,
                             tn_error *err)
{
    tn_status status = scale_search(c, group, source, group_size, &c->scales[group], err);
    if (status != TN_OK)
        return status;
    return calibration_log_add(c, LOG_SCALES, group, c->scales[group], c->groups.groups[group].columns * sizeof(float),
                               err);
}

tn_status calibration_find_scales(calibration *c, const tn_source *source, uint32_t group_size,
                                  weights_progress progress, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t g = 0; g < c->groups.count && status == TN_OK; g++) {
        if (!c->scales[g])
            status = find_scales(c, g, source, group_size, err);
        if (status == TN_OK && progress.report)
            progress.report(progress.ctx, g + 1, c->groups.count);
    }
    return status;
}
