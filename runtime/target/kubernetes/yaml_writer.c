/* yaml_writer.c: see yaml_writer.h. libyaml writes; what is decided here is how a string looks, since libyaml does not
 * know that `no` and `12` are not strings to who reads them.
 *
 * Source: YAML 1.1 and 1.2.2 (yaml.org/spec); Kubernetes reads 1.1's booleans.
 */
#include "target/kubernetes/yaml_writer.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

/* ---- how a string looks ---- */

static bool is_word_of_yaml(const char *text)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

/* Whether it needs no quotes: begins like no number, and holds nothing that YAML gives a meaning to. */
static bool is_plain(const char *text, size_t bytes)
{
    if (!isalpha((unsigned char)*text) && *text != '/')
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (!isalnum((unsigned char)text[i]) && (!text[i] || !strchr("_./-:", text[i])))
            return false;
    return text[bytes - 1] != ':' && !is_word_of_yaml(text);
}

/* Line ends other than \n would come back as \n. */
static bool is_literal(const char *text, size_t bytes)
{
    return strlen(text) == bytes && strchr(text, '\n') && !strchr(text, '\r') && !strstr(text, "\xc2\x85") &&
           !strstr(text, "\u2028") && !strstr(text, "\u2029") && !strstr(text, "\ufeff");
}

static yaml_scalar_style_t style_of(const char *text, size_t bytes)
{
    if (is_plain(text, bytes))
        return YAML_PLAIN_SCALAR_STYLE;
    return is_literal(text, bytes) ? YAML_LITERAL_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE;
}

/* ---- values; each returns 0 when libyaml could not ---- */

static int emit_scalar(yaml_emitter_t *emitter, const char *text, size_t bytes, yaml_scalar_style_t style)
{
    yaml_event_t event;
    return yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)bytes, 1, 1, style) &&
           yaml_emitter_emit(emitter, &event);
}

static int emit_string(yaml_emitter_t *emitter, const char *text, size_t bytes)
{
    return emit_scalar(emitter, text, bytes, style_of(text, bytes));
}

static int emit_number(yaml_emitter_t *emitter, const json_t *value)
{
    char digits[40];
    int bytes = json_is_integer(value)
                    ? snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(value))
                    : snprintf(digits, sizeof digits, "%#.17g", json_real_value(value)); /* with a point */
    return emit_scalar(emitter, digits, (size_t)bytes, YAML_PLAIN_SCALAR_STYLE);
}

static int emit_value(yaml_emitter_t *emitter, const json_t *value);

static int emit_object(yaml_emitter_t *emitter, const json_t *object)
{
    yaml_event_t event;
    const char *key;
    json_t *value;
    int good = yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE) &&
               yaml_emitter_emit(emitter, &event);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        good = good && emit_string(emitter, key, strlen(key)) && emit_value(emitter, value);
    }
    return good && yaml_mapping_end_event_initialize(&event) && yaml_emitter_emit(emitter, &event);
}

static int emit_array(yaml_emitter_t *emitter, const json_t *array)
{
    yaml_event_t event;
    size_t i;
    json_t *value;
    int good = yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE) &&
               yaml_emitter_emit(emitter, &event);
    json_array_foreach(array, i, value)
    {
        good = good && emit_value(emitter, value);
    }
    return good && yaml_sequence_end_event_initialize(&event) && yaml_emitter_emit(emitter, &event);
}

static int emit_value(yaml_emitter_t *emitter, const json_t *value)
{
    if (json_is_object(value))
        return emit_object(emitter, value);
    if (json_is_array(value))
        return emit_array(emitter, value);
    if (json_is_string(value))
        return emit_string(emitter, json_string_value(value), json_string_length(value));
    if (json_is_number(value))
        return emit_number(emitter, value);
    const char *word = json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null";
    return emit_scalar(emitter, word, strlen(word), YAML_PLAIN_SCALAR_STYLE);
}

/* ---- documents ---- */

static int emit_document(yaml_emitter_t *emitter, const json_t *value)
{
    yaml_event_t event;
    return yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 0) && yaml_emitter_emit(emitter, &event) &&
           emit_value(emitter, value) && yaml_document_end_event_initialize(&event, 1) &&
           yaml_emitter_emit(emitter, &event);
}

static int emit_stream(yaml_emitter_t *emitter, const json_t *documents)
{
    yaml_event_t event;
    size_t i;
    json_t *value;
    int good = yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) && yaml_emitter_emit(emitter, &event);
    json_array_foreach(documents, i, value)
    {
        good = good && emit_document(emitter, value);
    }
    return good && yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(emitter, &event) &&
           yaml_emitter_flush(emitter);
}

tn_status yaml_write_documents(const json_t *documents, char **ret_text, tn_error *err)
{
    yaml_emitter_t emitter;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);

    if (!out || !yaml_emitter_initialize(&emitter)) {
        if (out)
            fclose(out);
        free(text);
        return tn_fail(err, TN_E_MEMORY, "YAML of manifests");
    }
    yaml_emitter_set_output_file(&emitter, out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    int good = emit_stream(&emitter, documents);
    yaml_emitter_delete(&emitter);
    good = fclose(out) == 0 && good;
    if (!good) {
        free(text);
        return tn_fail(err, TN_E_MEMORY, "YAML of manifests");
    }
    *ret_text = text;
    return TN_OK;
}
