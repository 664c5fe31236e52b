/* query.c: decoded in place of a copy, so that names and values lie in the query itself. */
#include "admin/query.h"

#include "base/edit_distance.h"

#include <string.h>

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False: a '%' without two digits, or one that hides a NUL. */
static bool decode(char *text)
{
    char *to = text;

    for (const char *at = text; *at; at++, to++) {
        *to = *at == '+' ? ' ' : *at;
        if (*at != '%')
            continue;
        int high = digit_of(at[1]), low = high < 0 ? -1 : digit_of(at[2]);
        if (low < 0 || high * 16 + low == 0)
            return false;
        *to = (char)(high * 16 + low);
        at += 2;
    }
    *to = '\0';
    return true;
}

static tn_status take_pair(query *query, char *pair, const char *const *known, tn_error *err)
{
    char *equals = strchr(pair, '=');
    size_t names = 0;

    if (equals)
        *equals = '\0';
    char *value = equals ? equals + 1 : pair + strlen(pair);
    if (!decode(pair) || !decode(value))
        return tn_fail(err, TN_E_ARGUMENT, "the query is not percent-encoded text");
    query->name[query->count] = pair;
    query->value[query->count] = value;
    while (known[names] && strcmp(known[names], pair) != 0)
        names++;
    if (!known[names]) {
        const char *nearest = nearest_name(pair, known, names);
        return nearest ? tn_fail(err, TN_E_ARGUMENT, "there is no parameter '%.80s'; did you mean '%s'?", pair, nearest)
                       : tn_fail(err, TN_E_ARGUMENT, "there is no parameter '%.80s'", pair);
    }
    if (query_value(query, pair))
        return tn_fail(err, TN_E_ARGUMENT, "%s: it stands twice", pair);
    query->count++;
    return TN_OK;
}

tn_status query_parse(const char *text, const char *const *known, query *ret_query, const char **ret_param,
                      tn_error *err)
{
    char *rest = NULL;
    tn_status status = TN_OK;

    *ret_param = NULL;
    ret_query->count = 0;
    if (!text)
        return TN_OK;
    if (strlen(text) > QUERY_BYTES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "the query is longer than %d bytes", QUERY_BYTES_MAX);
    strcpy(ret_query->text, text);
    for (char *pair = strtok_r(ret_query->text, "&", &rest); pair; pair = strtok_r(NULL, "&", &rest)) {
        if (ret_query->count == QUERY_PAIRS_MAX)
            return tn_fail(err, TN_E_ARGUMENT, "the query has more than %d parameters", QUERY_PAIRS_MAX);
        status = take_pair(ret_query, pair, known, err);
        if (status != TN_OK) {
            *ret_param = pair;
            return status;
        }
    }
    return TN_OK;
}

const char *query_value(const query *query, const char *name)
{
    for (uint32_t i = 0; i < query->count; i++)
        if (strcmp(query->name[i], name) == 0)
            return query->value[i];
    return NULL;
}

tn_status query_number(const query *query, const char *name, double max, double *ret_number, tn_error *err)
{
    const char *text = query_value(query, name);
    char *end = NULL;

    if (!text)
        return TN_OK;
    double number = strtod(text, &end);
    if (end == text || *end || !(number >= 0 && number <= max))
        return tn_fail(err, TN_E_ARGUMENT, "%s: it must be a number from 0 to %.0f", name, max);
    *ret_number = number;
    return TN_OK;
}

tn_status query_switch(const query *query, const char *name, bool *ret_on, tn_error *err)
{
    const char *text = query_value(query, name);

    *ret_on = text && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
    if (!text || *ret_on || strcmp(text, "0") == 0 || strcmp(text, "false") == 0)
        return TN_OK;
    return tn_fail(err, TN_E_ARGUMENT, "%s: it must be 1 or 0", name);
}
