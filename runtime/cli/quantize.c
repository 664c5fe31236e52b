/* quantize.c: `tenon quantize SOURCE DESTINATION`. */
#include "quantize/quantize.h"
#include "cli/calibration_text.h"

#include <stdlib.h>
#include <string.h>

static const int64_t method_bits[] = {[QUANTIZE_AWQ] = 4, [QUANTIZE_INT4] = 4, [QUANTIZE_INT8] = 8, [QUANTIZE_FP8] = 8};
enum { METHODS = sizeof method_bits / sizeof *method_bits };

/* As they are on the command line; 0 and NULL: not given. */
typedef struct options {
    const char *method, *calibration;
    int64_t bits, group_size, samples, sequence_length, shard_mib;
} options;

static int usage_error(const char *text)
{
    fprintf(stderr, "tenon quantize: %s\n", text);
    return EXIT_USAGE;
}

/* By name, or by bits alone: AWQ for 4, int8 for 8. False: printed why. */
static bool find_method(const options *o, quantize_method *ret_method)
{
    uint32_t index = o->method ? 0 : o->bits == 8 ? QUANTIZE_INT8 : QUANTIZE_AWQ;

    if (o->bits && o->bits != 4 && o->bits != 8)
        return usage_error("--bits takes 4 or 8"), false;
    while (o->method && index < METHODS && strcmp(o->method, quantize_method_name((quantize_method)index)) != 0)
        index++;
    if (index == METHODS)
        return usage_error("--method takes awq, int4, int8 or fp8"), false;
    if (o->bits && method_bits[index] != o->bits)
        return usage_error("--bits is not what --method has: awq and int4 have 4, int8 and fp8 have 8"), false;
    *ret_method = (quantize_method)index;
    return true;
}

/* False: printed why. */
static bool check_options(const options *o, quantize_method method)
{
    if (o->group_size && (o->group_size < 8 || o->group_size > 65536 || o->group_size % 8))
        return usage_error("--group-size takes a multiple of 8 up to 65536"), false;
    if (o->group_size && method_bits[method] != 4)
        return usage_error("--group-size is for 4 bits: awq and int4"), false;
    if (o->shard_mib < 1 || o->shard_mib > 1 << 20)
        return usage_error("--shard-size takes 1 to 1048576 MiB"), false;
    if (method == QUANTIZE_AWQ && !o->calibration)
        return usage_error("awq needs --calibration FILE, a text like those that the model will see; --method int4 rounds "
                           "without one"),
               false;
    if (method != QUANTIZE_AWQ && o->calibration)
        return usage_error("--calibration is for --method awq"), false;
    if (o->samples < 1 || o->samples > 65536)
        return usage_error("--samples takes 1 to 65536"), false;
    if (o->sequence_length < 2 || o->sequence_length > 65536)
        return usage_error("--sequence-length takes 2 to 65536 tokens"), false;
    return true;
}

static weights_progress begin(void *ctx, quantize_stage stage)
{
    static const struct {
        const char *label, *unit;
    } stages[] = {[QUANTIZE_STAGE_READ] = {"reading", NULL},
                  [QUANTIZE_STAGE_CALIBRATE] = {"calibrating", "steps"},
                  [QUANTIZE_STAGE_WRITE] = {"quantizing", NULL}};

    (void)ctx;
    progress_finish();
    return progress_start(stages[stage].label, stages[stage].unit);
}

static int quantize(args *a, const options *o, quantize_method method, const char *source)
{
    tn_error err = TN_ERROR_INIT;
    calibration_text text = {0};
    const quantize_request request = {.source = source,
                                      .destination = a->positional[1],
                                      .method = method,
                                      .group_size = (uint32_t)o->group_size,
                                      .shard_bytes = (uint64_t)o->shard_mib << 20,
                                      .text = &text.text,
                                      .begin = begin};

    if (method == QUANTIZE_AWQ) {
        args_set(a, "model.path", source);
        if (!calibration_text_open(&text, a, o->calibration, (uint32_t)o->samples, (uint32_t)o->sequence_length)) {
            calibration_text_close(&text);
            return EXIT_FAILURE;
        }
    }
    tn_status status = quantize_checkpoint(&request, &err);
    progress_finish();
    calibration_text_close(&text);
    return status == TN_OK ? 0 : report(&err);
}

static int run_quantize(const command *command, int argc, char **argv)
{
    options o = {.samples = 32, .sequence_length = 512, .shard_mib = 1024};
    const flag flags[] = {
        {"method", "NAME", FLAG_STRING, &o.method, NULL, "awq (default), int4, int8 or fp8"},
        {"bits", "N", FLAG_INTEGER, &o.bits, NULL, "4 or 8: awq or int8, if no method is named"},
        {"calibration", "FILE", FLAG_STRING, &o.calibration, NULL, "awq: a text that the model will see the like of"},
        {"samples", "N", FLAG_INTEGER, &o.samples, NULL, "awq: sequences of it to run (default 32)"},
        {"sequence-length", "N", FLAG_INTEGER, &o.sequence_length, NULL, "awq: tokens of each (default 512)"},
        {"group-size", "N", FLAG_INTEGER, &o.group_size, NULL,
         "awq, int4: inputs that share a scale (default 128, or less where that does not divide)"},
        {"shard-size", "MIB", FLAG_INTEGER, &o.shard_mib, NULL, "MiB after which a file is closed (default 1024)"},
    };
    args a;
    quantize_method method;
    char *source = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (!find_method(&o, &method) || !check_options(&o, method)) {
        args_finish(&a);
        return EXIT_USAGE;
    }
    if (find_model(&a, a.positional[0], &source, &err) == TN_OK)
        code = quantize(&a, &o, method, source);
    else
        code = report(&err);
    free(source);
    args_finish(&a);
    return code;
}

const command command_quantize = {
    .name = "quantize",
    .arguments = "SOURCE DESTINATION",
    .summary = "write a model directory in 4 or 8 bits, for Tenon, transformers and vLLM",
    .help =
        "SOURCE is a directory of F32, F16 or BF16 safetensors. Weights of linear layers are quantized, those of experts too;\n"
        "embeddings, the head, norms and routers are not. awq: 4 bits, a scale and a zero point per group, chosen by what\n"
        "the text makes of the weights' inputs (activation-aware); one layer is held in memory in float32 meanwhile. int4:\n"
        "4 bits, a scale per group, rounded to nearest. int8, fp8: a scale per output, inputs quantized by token. awq is\n"
        "written as AutoAWQ's gemm, the others as compressed-tensors. A run that was stopped goes on where it was, if its\n"
        "source, text and settings are the same.",
    .positional_min = 2,
    .positional_max = 2,
    .run = run_quantize,
};
