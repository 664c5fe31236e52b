/* tests/unit/quant_config_test.h: opens a quantization plugin on a fake safetensors directory. */
#ifndef TESTS_QUANT_CONFIG_TEST_H
#define TESTS_QUANT_CONFIG_TEST_H

#include "fake_source.h"
#include "tenon/quant.h"

#include <stdio.h>

/* A checkpoint in memory; tensors are added before its first use. */
typedef struct quant_fake {
    fake_source fake;
    char config[2048];
} quant_fake;

static inline const tn_quant_table *quant_table(void)
{
    return tn_plugin_entry()->get_interface(TN_QUANT_ID);
}

/* quantization: the object, as JSON text. */
static inline tn_status quant_fake_open(quant_fake *q, const char *quantization, tn_qmodel **ret_qmodel, tn_error *err)
{
    snprintf(q->config, sizeof q->config, "{\"quantization_config\":%s}", quantization);
    fake_set(&q->fake, "config.json", fake_string(q->config));
    return quant_table()->open(fake_source_view(&q->fake, "safetensors"), ret_qmodel, err);
}

static inline void quant_fake_tensor(quant_fake *q, const char *name, uint32_t dtype, uint32_t rank, const int64_t *dim,
                                     const void *data, uint64_t bytes)
{
    size_t i = 0;
    while (q->fake.tensors[i].name)
        i++;
    TN_ASSERT(i + 1 < FAKE_TENSORS_MAX);
    tn_tensor_src *tensor = &q->fake.tensors[i];
    *tensor = (tn_tensor_src){.struct_size = sizeof *tensor,
                              .dtype = dtype,
                              .rank = rank,
                              .dim = {1, 1, 1, 1},
                              .name = name,
                              .data = data,
                              .bytes = bytes};
    for (uint32_t d = 0; d < rank; d++)
        tensor->dim[d] = dim[d];
}

static inline tn_tensor_src *quant_fake_find(quant_fake *q, const char *name)
{
    for (size_t i = 0; q->fake.tensors[i].name; i++)
        if (strcmp(q->fake.tensors[i].name, name) == 0)
            return &q->fake.tensors[i];
    return NULL;
}

/* The open succeeds, but the weight is refused with a sentence that holds `words`. */
static inline void assert_weight_refused(quant_fake *q, const char *quantization, const char *weight, const char *words)
{
    tn_error err = TN_ERROR_INIT;
    tn_qmodel *qmodel = NULL;
    tn_enc enc = {.struct_size = sizeof enc};
    uint64_t n, k;

    if (quant_fake_open(q, quantization, &qmodel, &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(quant_table()->shape(qmodel, weight, &n, &k, &err), TN_E_CORRUPT);
    if (!strstr(err.msg, words))
        fail_msg("'%s' does not say '%s'", err.msg, words);
    assert_int_equal(quant_table()->produces(qmodel, weight, 0, &enc, &err), TN_E_CORRUPT);
    quant_table()->close(qmodel);
}

static inline void assert_open_refused(quant_fake *q, const char *quantization, tn_status expected, const char *words)
{
    tn_error err = TN_ERROR_INIT;
    tn_qmodel *qmodel = NULL;

    tn_status status = quant_fake_open(q, quantization, &qmodel, &err);
    if (status != expected || !strstr(err.msg, words))
        fail_msg("%s gives %d, '%s', which does not say '%s'", quantization, status, err.msg, words);
    assert_null(qmodel);
}

#endif
