/* quantize.c: `tenon quantize SOURCE DESTINATION`. */
#include "quantize/quantize.h"
#include "cli/command.h"

#include <string.h>

static const char *const methods[] = {[QUANTIZE_INT4] = "int4", [QUANTIZE_INT8] = "int8", [QUANTIZE_FP8] = "fp8"};
enum { METHODS = sizeof methods / sizeof *methods };

static int usage_error(const char *text)
{
    fprintf(stderr, "tenon quantize: %s\n", text);
    return EXIT_USAGE;
}

static int run_quantize(const command *command, int argc, char **argv)
{
    const char *method = "int4";
    int64_t group_size = 128, shard_mib = 1024;
    const flag flags[] = {
        {"method", "NAME", FLAG_STRING, &method, NULL, "int4 (default), int8 or fp8"},
        {"group-size", "N", FLAG_INTEGER, &group_size, NULL, "int4: inputs that share a scale (default 128)"},
        {"shard-size", "MIB", FLAG_INTEGER, &shard_mib, NULL, "MiB after which a file is closed (default 1024)"},
    };
    args a;
    tn_error err = TN_ERROR_INIT;
    uint32_t index = 0;
    int code = args_parse(command, flags, 3, argc, argv, &a);

    if (code >= 0)
        return code;
    while (index < METHODS && strcmp(method, methods[index]) != 0)
        index++;
    if (index == METHODS)
        return usage_error("--method takes int4, int8 or fp8");
    if (group_size < 8 || group_size > 65536 || group_size % 8)
        return usage_error("--group-size takes a multiple of 8 up to 65536");
    if (shard_mib < 1 || shard_mib > 1 << 20)
        return usage_error("--shard-size takes 1 to 1048576 MiB");
    const quantize_request request = {.source = a.positional[0],
                                      .destination = a.positional[1],
                                      .method = (quantize_method)index,
                                      .group_size = (uint32_t)group_size,
                                      .shard_bytes = (uint64_t)shard_mib << 20,
                                      .progress = progress_start("quantizing")};
    tn_status status = quantize_checkpoint(&request, &err);
    progress_finish();
    args_finish(&a);
    return status == TN_OK ? 0 : report(&err);
}

const command command_quantize = {
    .name = "quantize",
    .arguments = "SOURCE DESTINATION",
    .summary = "write a model directory in 4 or 8 bits, for Tenon, transformers and vLLM",
    .help =
        "SOURCE is a directory of F32, F16 or BF16 safetensors. Weights of linear layers are rounded to nearest and\n"
        "written as compressed-tensors; embeddings, the head and norms are copied. int4: a scale and a zero point\n"
        "per group (W4A16). int8, fp8: a scale per output, inputs quantized by token (W8A8). A run that was stopped\n"
        "goes on where it was: files that are there are whole.",
    .positional_min = 2,
    .positional_max = 2,
    .run = run_quantize,
};
