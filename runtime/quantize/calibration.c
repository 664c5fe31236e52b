/* runtime/quantize/calibration.c: the text layer by layer; the log is in calibration_log.c, what runs between two
 * layers in layer_rows.c.
 */
#include "quantize/calibration.h"

#include "quantize/input_tap.h"
#include "quantize/layer_model.h"
#include "quantize/layer_rows.h"
#include "quantize/scale_search.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Rows of all sequences together that are aimed at: enough for the errors of scales to be compared, and for the
 * correlations within a group of 128 columns. */
enum { ROWS_WANTED = 512 };

static const char log_name[] = "calibration.partial";

static tn_status lay_out(calibration *c, tn_error *err)
{
    uint32_t sequences = c->text->sequences;

    c->sequence_rows = (ROWS_WANTED + sequences - 1) / sequences;
    c->sequence_rows = c->sequence_rows < 2 ? 2 : c->sequence_rows; /* input_tap's first, and one more */
    c->sequence_rows = c->sequence_rows < c->text->tokens ? c->sequence_rows : c->text->tokens;
    c->inputs = calloc(c->groups.count ? c->groups.count : 1, sizeof *c->inputs);
    return c->inputs ? TN_OK : tn_fail(err, TN_E_MEMORY, "inputs of %u groups", c->groups.count);
}

static tn_status log_path(const char *directory, char ret_path[CALIBRATION_PATH_BYTES], tn_error *err)
{
    int bytes = snprintf(ret_path, CALIBRATION_PATH_BYTES, "%s/%s", directory, log_name);
    if (bytes < 0 || bytes >= CALIBRATION_PATH_BYTES)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the path is too long", directory);
    return TN_OK;
}

tn_status calibration_open(calibration *c, const quantize_request *request, const tn_graph *graph,
                           const shard_plan *plan, const provenance *provenance, tn_error *err)
{
    *c = (calibration){.text = request->text, .log = -1};
    tn_status status = log_path(request->destination, c->path, err);
    if (status == TN_OK)
        status = scale_groups_init(&c->groups, graph, plan, err);
    if (status == TN_OK)
        status = lay_out(c, err);
    return status == TN_OK ? calibration_log_open(c, provenance, err) : status;
}

void calibration_close(calibration *c)
{
    for (uint32_t g = 0; c->inputs && g < c->groups.count; g++) {
        free(c->inputs[g].record);
        free(c->inputs[g].scales);
    }
    free(c->inputs);
    scale_groups_finish(&c->groups);
    if (c->text && c->log >= 0)
        close(c->log);
    *c = (calibration){.log = -1};
}

tn_status calibration_remove_log(const char *directory, tn_error *err)
{
    char path[CALIBRATION_PATH_BYTES];
    tn_status status = log_path(directory, path, err);

    if (status == TN_OK && unlink(path) != 0 && errno != ENOENT)
        status = tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    return status == TN_OK ? layer_rows_remove(directory, err) : status;
}

/* ---- records ---- */

uint64_t calibration_row_count(const calibration *c)
{
    return (uint64_t)c->text->sequences * c->sequence_rows;
}

uint64_t calibration_record_bytes(const calibration *c, uint32_t group)
{
    uint64_t columns = c->groups.groups[group].columns;
    return (columns + 1) * sizeof(double) + calibration_row_count(c) * columns * sizeof(float);
}

unsigned char *calibration_record(calibration *c, uint32_t group)
{
    if (!c->inputs[group].record)
        c->inputs[group].record = calloc(1, calibration_record_bytes(c, group));
    return c->inputs[group].record;
}

double *calibration_sums(unsigned char *record)
{
    return (double *)(void *)record;
}

float *calibration_rows_of(const calibration *c, uint32_t group, unsigned char *record)
{
    return (float *)(void *)(calibration_sums(record) + c->groups.groups[group].columns + 1);
}

tn_status calibration_rows(const calibration *c, uint32_t group, float *ret_rows, tn_error *err)
{
    uint64_t columns = c->groups.groups[group].columns;

    TN_ASSERT(c->inputs[group].record_at);
    return calibration_log_read(c, c->inputs[group].record_at + (columns + 1) * sizeof(double), ret_rows,
                                calibration_row_count(c) * columns * sizeof(float), err);
}

/* ---- layers ---- */

typedef struct layer_walk {
    calibration *calibration;
    const tn_source *source;
    const checkpoint *checkpoint;
    uint32_t group_size;
    layer_rows rows;
    weights_progress progress;
    uint64_t done, total; /* sequences through layers, and groups */
} layer_walk;

static void report(layer_walk *w, uint64_t steps)
{
    w->done += steps;
    if (w->progress.report && steps)
        w->progress.report(w->progress.ctx, w->done, w->total);
}

static tn_status run_sequence(layer_walk *w, layer_model *model, uint32_t sequence, tn_error *err)
{
    input_tap_start(w->calibration, sequence);
    tn_status status = layer_model_run(model, layer_rows_of(&w->rows, sequence), err);
    bool finite = input_tap_stop();

    if (status == TN_OK && !finite)
        return tn_fail(err, TN_E_CORRUPT, "sequence %u gives values that are not finite numbers", sequence);
    report(w, status == TN_OK);
    return status;
}

static tn_status run_layer(layer_walk *w, uint32_t layer, tn_error *err)
{
    layer_model model;
    tn_status status = layer_model_open(&model, w->calibration->text, layer, err);

    for (uint32_t i = 0; i < w->calibration->text->sequences && status == TN_OK; i++)
        status = run_sequence(w, &model, i, err);
    layer_model_close(&model);
    return status;
}

/* The pages of a group's weights, which nobody reads until they are packed. */
static void release_weights(const layer_walk *w, const scale_group *group)
{
    const scale_groups *groups = &w->calibration->groups;

    for (uint32_t i = 0; i < group->weight_count; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        if (w->source->tensor(w->source, groups->weights[group->weight_first + i].tensor, &tensor) == TN_OK)
            checkpoint_release(w->checkpoint, tensor.data, tensor.bytes);
    }
}

static tn_status finish_group(layer_walk *w, uint32_t group, tn_error *err)
{
    calibration *c = w->calibration;
    calibration_input *input = &c->inputs[group];
    uint64_t columns = c->groups.groups[group].columns, at;
    tn_status status = TN_OK;

    if (!input->record_at)
        status = calibration_log_add(c, LOG_INPUT, group, input->record, calibration_record_bytes(c, group),
                                     &input->record_at, err);
    if (status == TN_OK && !input->scales) {
        status = scale_search(c, group, w->source, w->group_size, &input->scales, err);
        release_weights(w, &c->groups.groups[group]);
        if (status == TN_OK)
            status = calibration_log_add(c, LOG_SCALES, group, input->scales, columns * sizeof(float), &at, err);
    }
    free(input->record);
    input->record = NULL;
    w->rows.groups++;
    report(w, status == TN_OK);
    return status;
}

/* An expert that no token chose has no record yet; its group follows its mixture's. */
static bool is_of_layer(const calibration *c, uint32_t group)
{
    while (c->groups.groups[group].expert >= 0)
        group--;
    return c->inputs[group].record != NULL;
}

static tn_status finish_groups(layer_walk *w, tn_error *err)
{
    calibration *c = w->calibration;
    tn_status status = TN_OK;

    for (uint32_t g = c->groups.count; g-- > 0 && status == TN_OK;) {
        if (!is_of_layer(c, g))
            continue;
        if (!calibration_record(c, g))
            status =
                tn_fail(err, TN_E_MEMORY, "a record of %llu bytes", (unsigned long long)calibration_record_bytes(c, g));
        else
            status = finish_group(w, g, err);
    }
    return status;
}

static uint32_t whole_groups(const calibration *c)
{
    uint32_t count = 0;
    for (uint32_t g = 0; g < c->groups.count; g++)
        count += c->inputs[g].record_at && c->inputs[g].scales;
    return count;
}

static tn_status pass_layers(layer_walk *w, const char *directory, tn_error *err)
{
    uint32_t layers = w->calibration->text->config->layers;
    tn_status status = TN_OK;

    for (uint32_t layer = w->rows.layer; layer < layers && status == TN_OK; layer++) {
        status = run_layer(w, layer, err);
        if (status == TN_OK)
            status = finish_groups(w, err);
        if (status == TN_OK)
            status = calibration_log_sync(w->calibration, err);
        w->rows.layer = layer + 1;
        if (status == TN_OK)
            status = layer_rows_keep(&w->rows, directory, err);
    }
    return status;
}

tn_status calibration_run(calibration *c, const quantize_request *request, const tn_graph *graph,
                          const checkpoint *checkpoint, uint32_t group_size, weights_progress progress, tn_error *err)
{
    const quantize_text *text = request->text;
    layer_walk w = {.calibration = c,
                    .source = checkpoint_source(checkpoint),
                    .checkpoint = checkpoint,
                    .group_size = group_size,
                    .progress = progress,
                    .total = (uint64_t)text->config->layers * text->sequences + c->groups.count};

    tn_status status = layer_rows_open(&w.rows, text, graph, checkpoint, request->destination, whole_groups(c), err);
    if (status != TN_OK)
        return status;
    report(&w, (uint64_t)w.rows.layer * text->sequences + w.rows.groups);
    status = pass_layers(&w, request->destination, err);
    layer_rows_close(&w.rows);
    if (status == TN_OK && whole_groups(c) != c->groups.count)
        return tn_fail(err, TN_E_CORRUPT, "%.400s and the file beside it do not belong together: remove both", c->path);
    return status;
}
