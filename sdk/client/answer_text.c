/* answer_text.c: see answer_text.h. */
#include "client/answer_text.h"

#include "client/whole_json.h"

#include <inttypes.h>
#include <string.h>

static char *copy(const char *bytes, size_t count)
{
    char *text = malloc(count + 1);

    if (!text)
        return NULL;
    memcpy(text, bytes, count);
    text[count] = '\0';
    return text;
}

char *answer_text_value(const client_answer *answer)
{
    return answer->value ? copy(answer->value, answer->value_bytes) : NULL;
}

char *answer_text_object(const client_answer *answer)
{
    return whole_json(answer->root, JSON_COMPACT);
}

char *answer_text_json(const client_answer *answer)
{
    json_error_t fault;
    json_t *value = answer->value ? json_loadb(answer->value, answer->value_bytes, JSON_DECODE_ANY, &fault) : NULL;
    char *text = value ? whole_json(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    json_decref(value);
    return text;
}

char *answer_text_count(const client_answer *answer)
{
    const json_t *count = json_object_get(answer->root, "count");
    char text[32];

    if (!json_is_integer(count))
        return NULL;
    snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(count));
    return copy(text, strlen(text));
}

char *answer_text_embedding(const client_answer *answer)
{
    const json_t *row = json_array_get(json_object_get(answer->root, "data"), 0);
    json_t *numbers = json_object_get(row, "embedding"), *number;
    size_t i;

    if (!json_is_array(numbers))
        return NULL;
    json_array_foreach(numbers, i, number)
    {
        if (!json_is_number(number))
            return NULL;
    }
    return whole_json(numbers, JSON_COMPACT);
}

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

char *answer_text_try(const client_answer *answer)
{
    json_t *value = answer->value ? json_stringn(answer->value, answer->value_bytes) : json_null();
    json_t *usage = answer->prompt_tokens < 0
                        ? json_null()
                        : json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)answer->prompt_tokens,
                                    "completion_tokens", (json_int_t)answer->completion_tokens);
    json_t *root =
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "value", value, "error", text_or_null(answer->message), "code",
                  text_or_null(answer->code), "finish_reason", text_or_null(answer->finish_reason), "usage", usage);
    char *text = root ? whole_json(root, JSON_COMPACT) : NULL;

    json_decref(root);
    return text;
}
