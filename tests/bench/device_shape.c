/* device_shape.c: see device_shape.h. */
#include "device_shape.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool device_shape_write(const device_shape *s, uint32_t context, char *path)
{
    char file[128];

    snprintf(path, 64, "/tmp/tenon_shape_XXXXXX");
    if (!mkdtemp(path))
        return false;
    snprintf(file, sizeof file, "%s/config.json", path);
    FILE *out = fopen(file, "w");
    if (!out)
        return false;
    fprintf(out,
            "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": %u,\n"
            " \"intermediate_size\": %u, \"num_hidden_layers\": %u, \"num_attention_heads\": %u,\n"
            " \"num_key_value_heads\": %u, \"head_dim\": %u, \"vocab_size\": %u, \"max_position_embeddings\": %u,\n"
            " \"rms_norm_eps\": 1e-5, \"rope_theta\": 500000.0, \"torch_dtype\": \"bfloat16\"}\n",
            s->width, s->ff_width, s->layers, s->heads, s->kv_heads, s->head_dim, s->vocab, context);
    return fclose(out) == 0;
}

void device_shape_remove(const char *path)
{
    char file[128];
    snprintf(file, sizeof file, "%s/config.json", path);
    unlink(file);
    rmdir(path);
}

/* Elements of the matrices of all layers. */
static double layer_elements(const device_shape *s)
{
    double heads = (double)s->head_dim * (2.0 * s->heads + 2.0 * s->kv_heads);
    return s->layers * (double)s->width * (heads + 3.0 * s->ff_width);
}

static double weight_bytes(const device_shape *s, bool four_bits)
{
    double element = four_bits ? 0.5 + 3.0 / 128 : 2; /* f16 scale and zero point of each 128 */
    return layer_elements(s) * element + 2.0 * s->width * s->vocab;
}

/* Of scores and of values. */
static double attention_operations(const device_shape *s, double keys)
{
    return 4.0 * s->layers * s->heads * s->head_dim * keys;
}

double device_shape_decode_seconds(const device_shape *s, bool four_bits, uint32_t rows, double context,
                                   device_limits limits)
{
    double kv = 4.0 * s->layers * s->kv_heads * s->head_dim * context * rows;
    double bytes = weight_bytes(s, four_bits) + kv;
    double products = 2 * rows * (layer_elements(s) + (double)s->width * s->vocab);

    return fmax(bytes / limits.bytes, (products + rows * attention_operations(s, context)) / limits.operations);
}

double device_shape_prefill_seconds(const device_shape *s, bool four_bits, uint32_t tokens, device_limits limits)
{
    double products = 2.0 * tokens * layer_elements(s) + 2.0 * s->width * s->vocab;
    double attention = attention_operations(s, tokens / 2.0) * tokens;

    return fmax(weight_bytes(s, four_bits) / limits.bytes, (products + attention) / limits.operations);
}
