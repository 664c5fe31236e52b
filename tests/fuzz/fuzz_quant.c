/* fuzz_quant.c: any bytes as a quantization_config and as the tensors of one weight. Built once per plugin.
 *
 * Input: eight tensors of four bytes each {dtype, rows, columns, rank}, then the JSON of config.json. Tensors have
 * exactly the bytes that their shape needs, so that a read past one is a fault.
 */
#include "tenon/quant.h"
#include "unit/fake_source.h"

#include <stdlib.h>

enum { TENSORS = 8, HEAD_BYTES = 4 * TENSORS };

static const char *const names[TENSORS] = {TENSOR_NAMES};

static uint64_t element_bytes(uint32_t dtype)
{
    switch (dtype) {
    case TN_DTYPE_I64:
        return 8;
    case TN_DTYPE_F32:
    case TN_DTYPE_I32:
        return 4;
    case TN_DTYPE_F16:
    case TN_DTYPE_BF16:
        return 2;
    default:
        return 1;
    }
}

static void add_tensor(fake_source *fake, uint32_t index, const uint8_t *head, const uint8_t *data, size_t size)
{
    static const uint32_t dtypes[8] = {TN_DTYPE_I32, TN_DTYPE_F16, TN_DTYPE_U8, TN_DTYPE_I8,
                                       TN_DTYPE_F8_E4M3, TN_DTYPE_I64, TN_DTYPE_F32, TN_DTYPE_BF16};
    uint32_t dtype = dtypes[head[0] % 8];
    int64_t rows = 1 + head[1] % 128, columns = 1 + head[2] % 128;
    uint32_t rank = 1 + head[3] % 2;
    uint64_t bytes = (uint64_t)rows * (rank == 2 ? (uint64_t)columns : 1) * element_bytes(dtype);
    uint8_t *copy = malloc(bytes);

    TN_ASSERT(copy);
    for (uint64_t i = 0; i < bytes; i++)
        copy[i] = size ? data[(i + index) % size] : 0;
    if (head[3] & 2) /* small integers: groups, shapes */
        for (uint64_t i = 0; i < bytes; i++)
            copy[i] = i % element_bytes(dtype) ? 0 : copy[i] % 4;
    fake->tensors[index] = (tn_tensor_src){.struct_size = sizeof(tn_tensor_src),
                                           .dtype = dtype,
                                           .rank = rank,
                                           .dim = {rows, rank == 2 ? columns : 1, 1, 1},
                                           .name = names[index],
                                           .data = copy,
                                           .bytes = bytes};
}

static void use_weight(const tn_quant_table *quant, const tn_qmodel *qmodel)
{
    tn_enc enc = {.struct_size = sizeof enc};
    uint64_t rows, columns;
    tn_error err = TN_ERROR_INIT;

    if (quant->shape(qmodel, "m.weight", &rows, &columns, &err) != TN_OK) {
        TN_ASSERT(err.msg[0]);
        return;
    }
    float *row = malloc(columns * sizeof *row);
    TN_ASSERT(row && quant->reference(qmodel, "m.weight", rows - 1, 1, row, &err) == TN_OK);
    for (uint32_t i = 0; quant->produces(qmodel, "m.weight", i, &enc, &err) == TN_OK; i++) {
        void *planes[TN_PLANE_LIMIT];
        uint64_t bytes[TN_PLANE_LIMIT];
        for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
            bytes[p] = tn_plane_bytes(&enc, p, rows, columns);
            planes[p] = bytes[p] ? malloc(bytes[p]) : NULL;
        }
        TN_ASSERT(quant->transcode(qmodel, "m.weight", &enc, 0, rows, 0, columns, planes, bytes, &err) == TN_OK);
        for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
            free(planes[p]);
    }
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fake_source fake;
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    tn_qmodel *qmodel = NULL;
    tn_error err = TN_ERROR_INIT;

    if (size < HEAD_BYTES)
        return 0;
    memset(&fake, 0, sizeof fake);
    tn_meta config = {.struct_size = sizeof config,
                      .kind = TN_META_STRING,
                      .count = size - HEAD_BYTES,
                      .string = (const char *)data + HEAD_BYTES};
    fake_set(&fake, "config.json", config);
    for (uint32_t i = 0; i < TENSORS; i++)
        add_tensor(&fake, i, data + (size_t)4 * i, data, size);
    tn_status status = quant->open(fake_source_view(&fake, "safetensors"), &qmodel, &err);
    TN_ASSERT((status == TN_OK) == (qmodel != NULL) && (status == TN_OK) == (err.msg[0] == 0));
    if (qmodel)
        use_weight(quant, qmodel);
    quant->close(qmodel);
    for (uint32_t i = 0; i < TENSORS; i++)
        free((void *)(uintptr_t)fake.tensors[i].data);
    return 0;
}
