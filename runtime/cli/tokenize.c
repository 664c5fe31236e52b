/* tokenize.c: `tenon tokenize` and `tenon detokenize`: differential tests of tokenizers without a server. */
#include "cli/command.h"

#include <jansson.h>
#include <stdlib.h>

static void print_ids(const int32_t *ids, uint64_t count)
{
    putchar('[');
    for (uint64_t i = 0; i < count; i++)
        printf(i ? ", %d" : "%d", ids[i]);
    printf("]\n");
}

/* Each line of text is a JSON string; one array of ids a line comes back. */
static int tokenize_lines(const instance *in, char *text, uint64_t bytes, uint32_t flags)
{
    char *end = text + bytes;
    for (char *line = text; line < end;) {
        char *stop = line;
        while (stop < end && *stop != '\n')
            stop++;
        json_error_t error;
        json_t *value = json_loadb(line, (size_t)(stop - line), JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        uint64_t count;
        int32_t *ids = json_is_string(value)
                           ? tokenize_text(in, json_string_value(value), json_string_length(value), flags, &count)
                           : NULL;
        if (!json_is_string(value))
            fprintf(stderr, "tenon: not a JSON string: %.*s\n", (int)(stop - line > 60 ? 60 : stop - line), line);
        json_decref(value);
        if (!ids)
            return EXIT_FAILURE;
        print_ids(ids, count);
        free(ids);
        line = stop + 1;
    }
    return 0;
}

static int run_tokenize(const command *command, int argc, char **argv)
{
    bool special = false, parse = false, lines = false;
    const flag flags[] = {
        {"special", NULL, FLAG_SWITCH, &special, NULL, "add begin and end tokens as the model's settings say"},
        {"parse-special", NULL, FLAG_SWITCH, &parse, NULL, "special tokens written in the text count as such"},
        {"lines", NULL, FLAG_SWITCH, &lines, NULL, "each line is a JSON string of its own"},
    };
    args a;
    session session;
    int code;
    uint64_t bytes, count;

    code = args_parse(command, flags, 3, argc, argv, &a);
    if (code >= 0)
        return code;
    args_set(&a, "model.path", a.positional[0]);
    code = session_open(&session, &a, STAGE_TOKENIZER);
    if (code >= 0)
        return code;
    uint32_t encode = (special ? TN_ENCODE_ADD_SPECIAL : 0u) | (parse ? TN_ENCODE_PARSE_SPECIAL : 0u);
    char *text = read_input(NULL, &bytes);
    code = text ? 0 : EXIT_FAILURE;
    if (text && lines) {
        code = tokenize_lines(&session.instance, text, bytes, encode);
    } else if (text) {
        int32_t *ids = tokenize_text(&session.instance, text, bytes, encode, &count);
        if (ids)
            print_ids(ids, count);
        code = ids ? 0 : EXIT_FAILURE;
        free(ids);
    }
    free(text);
    session_close(&session);
    args_finish(&a);
    return code;
}

const command command_tokenize = {
    .name = "tokenize",
    .arguments = "MODEL < TEXT",
    .summary = "text on standard input to token ids, as JSON",
    .help = "Prints the ids of the text on standard input as one JSON array.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_tokenize,
};

/* Writes the pieces of one array of ids to stdout. */
static int detokenize_ids(const instance *in, const json_t *ids, bool skip_special)
{
    char piece[4096];
    size_t i;
    json_t *id;

    json_array_foreach(ids, i, id)
    {
        tn_error err = TN_ERROR_INIT;
        uint64_t bytes = sizeof piece;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX) {
            fprintf(stderr, "tenon: element %zu is not a token id\n", i);
            return EXIT_FAILURE;
        }
        if (in->tokenizer->piece(in->tok, (int32_t)json_integer_value(id), skip_special ? TN_PIECE_SKIP_SPECIAL : 0,
                                 i == 0, piece, &bytes, &err) != TN_OK)
            return report(&err);
        fwrite(piece, 1, bytes, stdout);
    }
    return 0;
}

static int run_detokenize(const command *command, int argc, char **argv)
{
    bool skip = false;
    const flag flags[] = {{"skip-special", NULL, FLAG_SWITCH, &skip, NULL, "leave special tokens out"}};
    args a;
    session session;
    int code;
    uint64_t bytes;
    json_error_t error;

    code = args_parse(command, flags, 1, argc, argv, &a);
    if (code >= 0)
        return code;
    args_set(&a, "model.path", a.positional[0]);
    code = session_open(&session, &a, STAGE_TOKENIZER);
    if (code >= 0)
        return code;
    char *text = read_input(NULL, &bytes);
    json_t *ids = text ? json_loadb(text, bytes, 0, &error) : NULL;
    if (text && !json_is_array(ids))
        fprintf(stderr, "tenon: standard input is not a JSON array of token ids\n");
    code = json_is_array(ids) ? detokenize_ids(&session.instance, ids, skip) : EXIT_FAILURE;
    json_decref(ids);
    free(text);
    session_close(&session);
    args_finish(&a);
    return code;
}

const command command_detokenize = {
    .name = "detokenize",
    .arguments = "MODEL < IDS",
    .summary = "a JSON array of token ids on standard input to text",
    .help = "Prints the bytes that the ids stand for, exactly.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_detokenize,
};
