/* tokenizer_differential.c: tokenizes what another implementation has tokenized and compares.
 *
 * Usage: tokenizer_reference.py samples MODEL.gguf -n 10000 | tokenizer_differential [--lossy] MODEL
 * Lines of standard input: {"text": ..., "ids": [...], "ids_plain": [...]}; ids with special tokens recognised,
 * ids_plain without (either may be missing). Checks besides that decoding ids_plain gives the text back, and that the
 * attributes of ids are in range. MODEL: a GGUF file or a checkpoint directory. With --print the ids are printed instead,
 * one line [ids, ids_plain] for each line of input, and nothing is compared. Exit status 1 if anything differs, 77
 * if TENON_TEST_MODEL is needed and not set.
 */
#include "model/checkpoint.h"
#include "tokenizer.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

typedef struct tally {
    unsigned long long lines, ids, differences, bytes;
    bool lossy;
} tally;

static int32_t *encode(const tn_tok *tok, const char *text, size_t n, uint32_t flags, uint64_t *ret_count)
{
    int32_t *ids = NULL;
    tn_error err = TN_ERROR_INIT;
    *ret_count = 0;
    tn_status status = tokenizer_table.encode(tok, text, n, flags, NULL, ret_count, &err);
    if (status == TN_E_MEMORY && *ret_count > 0) {
        ids = malloc(*ret_count * sizeof *ids);
        TN_ASSERT(ids != NULL);
        status = tokenizer_table.encode(tok, text, n, flags, ids, ret_count, &err);
    }
    if (status != TN_OK) {
        fprintf(stderr, "encode: %s\n", err.msg);
        exit(1);
    }
    return ids;
}

static void report(const json_t *line, const char *which, const int32_t *ids, uint64_t count)
{
    char *text = json_dumps(line, JSON_COMPACT);
    printf("differs in \"%s\": %s\n  ours: [", which, text);
    for (uint64_t i = 0; i < count; i++)
        printf("%s%d", i ? "," : "", ids[i]);
    printf("]\n");
    free(text);
}

static bool decodes_to(const tn_tok *tok, const int32_t *ids, uint64_t count, const char *text, size_t n)
{
    size_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        char bytes[4096];
        uint64_t piece_n = sizeof bytes;
        if (tokenizer_table.piece(tok, ids[i], 0, i == 0, bytes, &piece_n, NULL) != TN_OK || n - at < piece_n ||
            memcmp(text + at, bytes, piece_n) != 0)
            return false;
        at += piece_n;
    }
    return at == n;
}

static void compare(const tn_tok *tok, const json_t *line, const char *which, uint32_t flags, tally *sum)
{
    const json_t *text = json_object_get(line, "text"), *expected = json_object_get(line, which);
    if (!json_is_array(expected))
        return;
    uint64_t count;
    size_t n = json_string_length(text);
    int32_t *ids = encode(tok, json_string_value(text), n, flags, &count);
    bool equal = count == json_array_size(expected);
    for (uint64_t i = 0; equal && i < count; i++)
        equal = ids[i] == json_integer_value(json_array_get(expected, i));
    if (!equal || (!sum->lossy && !decodes_to(tok, ids, count, json_string_value(text), n))) {
        if (sum->differences++ < 10)
            report(line, which, ids, count);
    }
    sum->ids += count;
    sum->bytes += n;
    free(ids);
}

static tn_tok *open_tokenizer(const char *path)
{
    tn_error err = TN_ERROR_INIT;
    checkpoint *file;
    tn_tok *tok;
    tn_status status = checkpoint_open(path, &file, &err);
    if (status == TN_OK) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        status = tokenizer_table.open(checkpoint_source(file), &tok, &err);
        clock_gettime(CLOCK_MONOTONIC, &end);
        if (status == TN_OK)
            fprintf(stderr, "opened %u tokens in %.1f ms\n", tokenizer_table.vocab_size(tok),
                   (double)(end.tv_sec - start.tv_sec) * 1e3 + (double)(end.tv_nsec - start.tv_nsec) * 1e-6);
        checkpoint_close(file);
    }
    if (status != TN_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    return tok;
}

static int compare_all(const tn_tok *tok, FILE *input, bool lossy)
{
    tally sum = {.lossy = lossy};
    json_error_t where;
    for (json_t *line; (line = json_loadf(input, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &where)); json_decref(line)) {
        sum.lines++;
        compare(tok, line, "ids", TN_ENCODE_PARSE_SPECIAL, &sum);
        compare(tok, line, "ids_plain", 0, &sum);
    }
    bool cut = !feof(input);
    if (cut)
        fprintf(stderr, "line %llu: %s\n", sum.lines + 1, where.text);
    printf("%llu lines, %llu bytes, %llu ids, %llu differences\n", sum.lines, sum.bytes, sum.ids, sum.differences);
    return sum.differences > 0 || sum.lines == 0 || cut;
}

static json_t *ids_as_json(const tn_tok *tok, const json_t *text, uint32_t flags)
{
    uint64_t count;
    int32_t *ids = encode(tok, json_string_value(text), json_string_length(text), flags, &count);
    json_t *list = json_array();

    for (uint64_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(ids[i]));
    free(ids);
    return list;
}

static int print_all(const tn_tok *tok, FILE *input)
{
    json_error_t where;
    for (json_t *line; (line = json_loadf(input, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &where)); json_decref(line)) {
        const json_t *text = json_object_get(line, "text");
        json_t *ids = json_pack("[o, o]", ids_as_json(tok, text, TN_ENCODE_PARSE_SPECIAL), ids_as_json(tok, text, 0));
        json_dumpf(ids, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(ids);
    }
    if (!feof(input))
        fprintf(stderr, "%s\n", where.text);
    return !feof(input);
}

int main(int argc, char **argv)
{
    bool print = argc == 3 && strcmp(argv[1], "--print") == 0;
    bool lossy = argc == 3 && strcmp(argv[1], "--lossy") == 0;
    bool samples = argc == 3 && strcmp(argv[1], "--samples") == 0;
    if (argc != 2 && !lossy && !samples && !print) {
        fprintf(stderr, "usage: %s [--lossy | --print] MODEL < samples.jsonl\n       %s --samples samples.jsonl\n", argv[0],
                argv[0]);
        return 2;
    }
    const char *model = samples ? getenv("TENON_TEST_MODEL") : argv[argc - 1];
    if (!model) {
        fprintf(stderr, "TENON_TEST_MODEL is not set: skipped\n");
        return 77;
    }
    FILE *input = samples ? fopen(argv[2], "rb") : stdin;
    if (!input) {
        perror(argv[2]);
        return 2;
    }
    tn_tok *tok = open_tokenizer(model);
    int result = print ? print_all(tok, input) : compare_all(tok, input, lossy);
    tokenizer_table.close(tok);
    if (samples)
        fclose(input);
    return result;
}
