/* runtime/quantize/layer_rows.c: see layer_rows.h. The log beside the file says whose run it is. */
#include "quantize/layer_rows.h"

#include "engine/siphash.h"
#include "file/whole_file.h"
#include "quantize/tensor_floats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS_MAGIC 0x3173776f726c6e74u /* "tnlrows1" */

static const char file_name[] = "calibration-rows.partial";
static const uint64_t hash_key[2] = {0x726f777320626574u, 0x7765656e206c7973u};

typedef struct rows_head {
    uint64_t magic, layer, groups, bytes, hash[2];
} rows_head;

static uint64_t rows_bytes(const layer_rows *r)
{
    return (uint64_t)r->text->sequences * r->text->tokens * r->width * sizeof *r->rows;
}

float *layer_rows_of(const layer_rows *r, uint32_t sequence)
{
    return r->rows + (uint64_t)sequence * r->text->tokens * r->width;
}

/* ---- the file ---- */

static rows_head head_of(const layer_rows *r)
{
    hash128 hash = siphash_128(hash_key, r->rows, rows_bytes(r));
    return (rows_head){ROWS_MAGIC, r->layer, r->groups, rows_bytes(r), {hash.low, hash.high}};
}

/* False: there are no rows to go on with. */
static bool read_rows(layer_rows *r, const char *directory, uint32_t whole_groups)
{
    char path[4096];
    rows_head head;

    int bytes = snprintf(path, sizeof path, "%s/%s", directory, file_name);
    int fd = bytes > 0 && (size_t)bytes < sizeof path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    bool whole = fd >= 0 && read_all(fd, &head, sizeof head, 0) && head.magic == ROWS_MAGIC &&
                 head.bytes == rows_bytes(r) && head.layer <= r->text->config->layers && head.groups <= whole_groups &&
                 read_all(fd, r->rows, head.bytes, sizeof head);
    if (fd >= 0)
        close(fd);
    if (!whole)
        return false;
    r->layer = (uint32_t)head.layer;
    r->groups = (uint32_t)head.groups;
    rows_head expected = head_of(r);
    return memcmp(&head, &expected, sizeof head) == 0;
}

tn_status layer_rows_keep(const layer_rows *r, const char *directory, tn_error *err)
{
    rows_head head = head_of(r);
    whole_file file;
    tn_status status = whole_file_begin(&file, directory, file_name, err);

    if (status == TN_OK)
        status = whole_file_write(&file, &head, sizeof head, err);
    if (status == TN_OK)
        status = whole_file_write(&file, r->rows, head.bytes, err);
    if (status == TN_OK)
        return whole_file_end(&file, err);
    whole_file_abandon(&file);
    return status;
}

tn_status layer_rows_remove(const char *directory, tn_error *err)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", directory, file_name);
    if (unlink(path) == 0 || errno == ENOENT)
        return TN_OK;
    return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
}

/* ---- embeddings ---- */

static tn_status embed_token(const tn_source *source, const tn_value *table, double scale, int32_t id, float *ret_row,
                             tn_error *err)
{
    uint64_t width = (uint64_t)table->dim[1];

    if (id < 0 || id >= table->dim[0])
        return tn_fail(err, TN_E_ARGUMENT, "token %d of the text is outside the vocabulary of %lld", id,
                       (long long)table->dim[0]);
    tn_status status = tensor_floats(source, table->name, (uint64_t)id * width, width, ret_row, err);
    for (uint64_t k = 0; k < width && status == TN_OK; k++)
        ret_row[k] = (float)((double)ret_row[k] * scale);
    return status;
}

static tn_status embed(layer_rows *r, const tn_graph *graph, const checkpoint *checkpoint, tn_error *err)
{
    const tn_graph_api *api = model_graph_api(graph);
    const tn_source *source = checkpoint_source(checkpoint);
    const uint64_t tokens = r->text->tokens, stride = r->text->count / r->text->sequences;
    tn_node node = {.struct_size = sizeof node};
    tn_value table = {.struct_size = sizeof table};
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    tn_status status = api->node(graph, 0, &node);

    TN_ASSERT(status == TN_OK && node.op == TN_OP_EMBED);
    api->value(graph, node.in[0], &table);
    for (uint64_t i = 0; i < r->text->sequences * tokens && status == TN_OK; i++)
        status = embed_token(source, &table, node.fattr[TN_EMBED_F_SCALE],
                             r->text->ids[i / tokens * stride + i % tokens], r->rows + i * r->width, err);
    if (status == TN_OK && source->tensor(source, table.name, &tensor) == TN_OK)
        checkpoint_release(checkpoint, tensor.data, tensor.bytes);
    return status;
}

tn_status layer_rows_open(layer_rows *r, const quantize_text *text, const tn_graph *graph, const checkpoint *checkpoint,
                          const char *directory, uint32_t whole_groups, tn_error *err)
{
    *r = (layer_rows){.text = text, .width = model_graph_api(graph)->model_width};
    r->rows = malloc(rows_bytes(r));
    if (!r->rows)
        return tn_fail(err, TN_E_MEMORY, "%llu bytes of rows: give fewer --samples or a smaller --sequence-length",
                       (unsigned long long)rows_bytes(r));
    if (read_rows(r, directory, whole_groups))
        return TN_OK;
    r->layer = r->groups = 0;
    tn_status status = embed(r, graph, checkpoint, err);
    if (status != TN_OK)
        layer_rows_close(r);
    return status;
}

void layer_rows_close(layer_rows *r)
{
    free(r->rows);
    *r = (layer_rows){0};
}
