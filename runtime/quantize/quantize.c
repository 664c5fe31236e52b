/* runtime/quantize/quantize.c: shard by shard: kept if it is there, else written beside and renamed. */
#include "quantize/quantize.h"

#include "base/weight_block.h"
#include "file/whole_file.h"
#include "quantize/kept_shards.h"
#include "quantize/pack_awq.h"
#include "quantize/scale_fold.h"
#include "quantize/shards.h"
#include "quantize/side_files.h"
#include "quantize/tensor_floats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { COPY_BYTES = 4 << 20 };

typedef struct quantizer {
    const quantize_request *request;
    checkpoint *checkpoint;
    tn_graph *graph;
    shard_plan plan;
    provenance provenance;
    calibration calibration; /* QUANTIZE_AWQ */
    scale_folds folds;       /* empty for other methods */
    weights_progress progress;
    uint64_t done; /* bytes of data */
} quantizer;

static weights_progress begin_stage(const quantizer *q, quantize_stage stage)
{
    return q->request->begin ? q->request->begin(q->request->ctx, stage) : (weights_progress){0};
}

static void report(quantizer *q, uint64_t bytes)
{
    q->done += bytes;
    if (q->progress.report)
        q->progress.report(q->progress.ctx, q->done, q->plan.data_bytes);
}

/* ---- writing ---- */

static tn_status round_weight(const quantizer *q, const shard_item *item, void *const data[PACK_PARTS_MAX],
                              tn_error *err)
{
    uint64_t n = (uint64_t)item->tensor.dim[0], k = (uint64_t)item->tensor.dim[1];
    float *row = malloc(k * sizeof *row);

    if (!row)
        return tn_fail(err, TN_E_MEMORY, "tensor %s", item->tensor.name);
    bool finite = pack_weight(q->request->method, q->plan.group_size, item->type, item->tensor.data, n, k, row, data);
    free(row);
    if (!finite)
        return tn_fail(err, TN_E_CORRUPT, "tensor %s holds a value that is not a finite number", item->tensor.name);
    return TN_OK;
}

static tn_status pack_item(const quantizer *q, const shard_item *item, void *const data[PACK_PARTS_MAX], tn_error *err)
{
    if (q->request->method != QUANTIZE_AWQ)
        return round_weight(q, item, data, err);
    const folded_tensor *fold = scale_folds_find(&q->folds, item->tensor.name);
    TN_ASSERT(fold && fold->columns);
    return pack_awq_weight(&q->calibration, fold, q->plan.group_size, &item->tensor, data, err);
}

static tn_status write_quantized(quantizer *q, whole_file *file, const shard_item *item, tn_error *err)
{
    void *data[PACK_PARTS_MAX] = {0};
    bool enough = true;

    for (uint32_t p = 0; p < item->part_count; p++) {
        data[p] = calloc(1, item->parts[p].bytes);
        enough = enough && data[p];
    }
    tn_status status =
        enough ? pack_item(q, item, data, err) : tn_fail(err, TN_E_MEMORY, "tensor %s", item->tensor.name);
    for (uint32_t p = 0; p < item->part_count; p++) {
        if (status == TN_OK)
            status = whole_file_write(file, data[p], item->parts[p].bytes, err);
        if (status == TN_OK)
            report(q, item->parts[p].bytes);
        free(data[p]);
    }
    return status;
}

/* A gain or bias that took the inverse of scales, or a router that took scales. */
static tn_status write_folded(const folded_tensor *fold, whole_file *file, const shard_item *item, tn_error *err)
{
    uint32_t type = tensor_float_type(&item->tensor);
    uint64_t count = item->tensor.bytes / tn_scalar_bytes(type), columns = (uint64_t)item->tensor.dim[1];
    void *data = malloc(item->tensor.bytes);
    float *values = fold->columns ? malloc(count * sizeof *values) : fold->values;
    tn_status status = TN_OK;

    if (fold->columns && values) {
        floats_convert(TN_F32, values, type, item->tensor.data, count);
        for (uint64_t i = 0; i < count; i++)
            values[i] *= fold->columns[i % columns];
    }
    if (!data || !values)
        status = tn_fail(err, TN_E_MEMORY, "tensor %s", item->tensor.name);
    if (status == TN_OK) {
        floats_convert(type, data, TN_F32, values, count);
        status = whole_file_write(file, data, item->tensor.bytes, err);
    }
    free(data);
    if (values != fold->values)
        free(values);
    return status;
}

/* Piece by piece, so that no more than one of them is resident. */
static tn_status write_copy(quantizer *q, whole_file *file, const shard_item *item, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint64_t at = 0; at < item->tensor.bytes && status == TN_OK; at += COPY_BYTES) {
        const uint8_t *data = (const uint8_t *)item->tensor.data + at;
        uint64_t bytes = item->tensor.bytes - at < COPY_BYTES ? item->tensor.bytes - at : COPY_BYTES;
        status = whole_file_write(file, data, bytes, err);
        checkpoint_release(q->checkpoint, data, bytes);
        report(q, bytes);
    }
    return status;
}

static tn_status write_item(quantizer *q, whole_file *file, const shard_item *item, tn_error *err)
{
    const folded_tensor *fold = scale_folds_find(&q->folds, item->tensor.name);
    tn_status status;

    if (!item->type && !fold)
        return write_copy(q, file, item, err);
    if (item->type) {
        status = write_quantized(q, file, item, err);
    } else {
        status = write_folded(fold, file, item, err);
        report(q, item->tensor.bytes);
    }
    checkpoint_release(q->checkpoint, item->tensor.data, item->tensor.bytes);
    return status;
}

static tn_status write_shard(quantizer *q, const shard *shard, tn_error *err)
{
    whole_file file;
    tn_status status = whole_file_begin(&file, q->request->destination, shard->name, err);

    if (status == TN_OK)
        status = whole_file_write(&file, shard->header, shard->header_bytes, err);
    for (uint32_t i = 0; i < shard->count && status == TN_OK; i++)
        status = write_item(q, &file, &q->plan.items[shard->first + i], err);
    if (status == TN_OK)
        return whole_file_end(&file, err);
    whole_file_abandon(&file);
    return status;
}

static tn_status write_shards(quantizer *q, tn_error *err)
{
    tn_status status = TN_OK;

    q->progress = begin_stage(q, QUANTIZE_STAGE_WRITE);
    for (uint32_t i = 0; i < q->plan.shard_count && status == TN_OK; i++) {
        bool found;
        status = kept_shards_find(q->request->destination, &q->plan.shards[i], &q->provenance, &found, err);
        if (status == TN_OK && found)
            report(q, q->plan.shards[i].data_bytes);
        else if (status == TN_OK)
            status = write_shard(q, &q->plan.shards[i], err);
    }
    return status;
}

/* ---- calibration ---- */

static tn_status is_any_shard_missing(const quantizer *q, bool *ret_missing, tn_error *err)
{
    tn_status status = TN_OK;

    *ret_missing = false;
    for (uint32_t i = 0; i < q->plan.shard_count && status == TN_OK && !*ret_missing; i++) {
        bool found;
        status = kept_shards_find(q->request->destination, &q->plan.shards[i], &q->provenance, &found, err);
        *ret_missing = !found;
    }
    return status;
}

static tn_status calibrate(quantizer *q, tn_error *err)
{
    bool missing;
    tn_status status = is_any_shard_missing(q, &missing, err);

    if (status != TN_OK || !missing)
        return status;
    status = calibration_open(&q->calibration, q->request, q->graph, &q->plan, &q->provenance, err);
    if (status == TN_OK)
        status = calibration_run(&q->calibration, q->request, q->graph, q->checkpoint, q->plan.group_size,
                                 begin_stage(q, QUANTIZE_STAGE_CALIBRATE), err);
    if (status == TN_OK)
        status = scale_folds_init(&q->folds, &q->calibration, &q->plan, checkpoint_source(q->checkpoint), err);
    return status;
}

/* ---- the directory ---- */

static tn_status write_index(const quantizer *q, tn_error *err)
{
    char *text = shard_plan_index(&q->plan);

    if (!text)
        return q->plan.shard_count < 2 ? TN_OK : tn_fail(err, TN_E_MEMORY, "index of shards");
    tn_status status =
        whole_file_put(q->request->destination, "model.safetensors.index.json", text, strlen(text), err);
    free(text);
    return status;
}

static tn_status make_destination(const quantize_request *request, tn_error *err)
{
    struct stat from, to;

    if (mkdir(request->destination, 0755) != 0 && errno != EEXIST)
        return tn_fail(err, TN_E_IO, "%s: %s", request->destination, strerror(errno));
    if (stat(request->source, &from) != 0 || stat(request->destination, &to) != 0)
        return tn_fail(err, TN_E_IO, "%s: %s", request->source, strerror(errno));
    if (!S_ISDIR(from.st_mode) || !S_ISDIR(to.st_mode))
        return tn_fail(err, TN_E_ARGUMENT, "%s and %s must be directories", request->source, request->destination);
    if (from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        return tn_fail(err, TN_E_ARGUMENT, "%s is the source: give another directory", request->destination);
    return TN_OK;
}

/* Everything that can be refused before anything is written. */
static tn_status read_source(quantizer *q, tn_error *err)
{
    const tn_source *source = checkpoint_source(q->checkpoint);
    model_config config;

    if (strcmp(source->container, "safetensors") != 0)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: give a directory of safetensors, not %s", q->request->source,
                       source->container);
    tn_status status = side_files_check_config(source, err);
    if (status == TN_OK)
        status = model_config_read(source, &config, err);
    if (status == TN_OK)
        status = model_graph_build(&config, &q->graph, err);
    if (status == TN_OK)
        status = shard_plan_init(&q->plan, q->request, q->checkpoint, q->graph, err);
    return status;
}

/* Reads all of the source. */
static tn_status take_provenance(quantizer *q, tn_error *err)
{
    tn_status status =
        provenance_take(&q->provenance, q->request, &q->plan, q->checkpoint, begin_stage(q, QUANTIZE_STAGE_READ), err);
    if (status != TN_OK)
        return status;
    json_t *strings = provenance_json(&q->provenance);
    status = strings ? shard_plan_write_headers(&q->plan, strings, err)
                     : tn_fail(err, TN_E_MEMORY, "headers of %u shards", q->plan.shard_count);
    json_decref(strings);
    return status;
}

static tn_status write_directory(quantizer *q, tn_error *err)
{
    const quantize_request *request = q->request;

    tn_status status = make_destination(request, err);
    if (status == TN_OK)
        status = take_provenance(q, err);
    if (status == TN_OK)
        status = kept_shards_refuse_strangers(request->destination, &q->plan, &q->provenance, err);
    if (status == TN_OK && request->method == QUANTIZE_AWQ)
        status = calibrate(q, err);
    if (status == TN_OK)
        status = write_shards(q, err);
    if (status == TN_OK)
        status = write_index(q, err);
    if (status == TN_OK)
        status = side_files_copy(request, err);
    if (status == TN_OK)
        status = side_files_write_config(request, checkpoint_source(q->checkpoint), &q->plan, err);
    if (status == TN_OK && request->method == QUANTIZE_AWQ)
        status = calibration_remove_log(request->destination, err);
    return status;
}

const char *quantize_method_name(quantize_method method)
{
    static const char *const names[] = {
        [QUANTIZE_AWQ] = "awq", [QUANTIZE_INT4] = "int4", [QUANTIZE_INT8] = "int8", [QUANTIZE_FP8] = "fp8"};
    return names[method];
}

tn_status quantize_checkpoint(const quantize_request *request, tn_error *err)
{
    quantizer q = {.request = request, .calibration = {.log = -1}};

    TN_ASSERT(request->group_size % 8 == 0 && (request->method != QUANTIZE_AWQ || request->text));
    tn_status status = checkpoint_open(request->source, &q.checkpoint, err);
    if (status != TN_OK)
        return status;
    status = read_source(&q, err);
    if (status == TN_OK)
        status = write_directory(&q, err);
    scale_folds_finish(&q.folds);
    calibration_close(&q.calibration);
    shard_plan_finish(&q.plan);
    model_graph_free(q.graph);
    checkpoint_close(q.checkpoint);
    return status;
}
