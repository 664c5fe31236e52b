/* json_body.c: one linear scan that knows strings from structure, then jansson. */
#include "json_body.h"

/* Bounds what the parser may spend. Malformed text passes here and is jansson's to refuse. */
static tn_status scan(const char *bytes, size_t n, uint32_t depth_max, api_error *error)
{
    uint32_t depth = 0, values = 0, containers = 0;
    bool in_string = false;

    for (size_t i = 0; i < n; i++) {
        char byte = bytes[i];
        if (in_string) {
            if (byte == '\\')
                i++;
            else if (byte == '"')
                in_string = false;
            continue;
        }
        if (byte == '"') {
            in_string = true;
        } else if (byte == '{' || byte == '[') {
            containers++;
            if (++depth > depth_max)
                return api_fail(error, 400, "json_too_deep", NULL, "the body nests deeper than %u levels", depth_max);
        } else if (byte == '}' || byte == ']') {
            depth -= depth > 0;
        } else if (byte == ',') {
            values++;
        }
        if (values > JSON_BODY_VALUES_MAX || containers > JSON_BODY_CONTAINERS_MAX)
            return api_fail(error, 413, "json_too_large", NULL,
                            "the body holds more than %d values or more than %d lists and objects",
                            JSON_BODY_VALUES_MAX, JSON_BODY_CONTAINERS_MAX);
    }
    return TN_OK;
}

tn_status json_body_parse(const char *bytes, size_t n, uint32_t depth_max, json_t **ret_root, api_error *error)
{
    if (n == 0)
        return api_fail(error, 400, "empty_body", NULL, "the body is empty: send a JSON object");
    tn_status status = scan(bytes, n, depth_max, error);
    if (status != TN_OK)
        return status;

    json_error_t trouble;
    json_t *root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &trouble);
    if (!root)
        return api_fail(error, 400, "invalid_json", NULL, "the body is not valid JSON: %s (line %d, column %d)",
                        trouble.text, trouble.line, trouble.column);
    if (!json_is_object(root)) {
        json_decref(root);
        return api_fail(error, 400, "invalid_json", NULL, "the body must be a JSON object");
    }
    *ret_root = root;
    return TN_OK;
}
