/* scope.c: one table, searched in order; the last rule is that what it does not know needs the admin scope. README.md
 * shows it to people, and tests/e2e compares the two.
 */
#include "auth/scope.h"

#include <stdbool.h>
#include <string.h>

#define ANY (TN_SCOPE_INFER | TN_SCOPE_BATCH | TN_SCOPE_ADMIN)

/* path: a '*' at the end stands for any text. */
static const struct {
    const char *method, *path;
    uint32_t scopes;
} routes[] = {
    {"GET", "/health", 0},
    {"GET", "/ready", 0}, /* who starts a server asks, and has no token */
    {"GET", "/version", ANY},
    {"GET", "/metrics", ANY},
    {"GET", "/v1/models", ANY},
    {"GET", "/v1/models/*", ANY},
    {"POST", "/v1/chat/completions", TN_SCOPE_INFER},
    {"POST", "/v1/completions", TN_SCOPE_INFER},
    {"POST", "/tokenize", TN_SCOPE_INFER},
    {"POST", "/detokenize", TN_SCOPE_INFER},
    {"*", "/v1/files*", TN_SCOPE_BATCH | TN_SCOPE_ADMIN},
    {"*", "/v1/batches*", TN_SCOPE_BATCH | TN_SCOPE_ADMIN},
    {"*", "/admin/v1*", TN_SCOPE_ADMIN},
    {"GET", "/admin*", 0}, /* the page, which holds nothing; what it shows it asks for below /admin/v1 */
};

static const struct {
    const char *name;
    uint32_t bit;
} names[] = {{"infer", TN_SCOPE_INFER}, {"batch", TN_SCOPE_BATCH}, {"admin", TN_SCOPE_ADMIN}};
enum { NAMES = sizeof names / sizeof *names };

static uint32_t find_scope(const char *text, size_t bytes)
{
    for (size_t i = 0; i < NAMES; i++)
        if (strlen(names[i].name) == bytes && memcmp(names[i].name, text, bytes) == 0)
            return names[i].bit;
    return 0;
}

tn_status scopes_parse(const char *text, uint32_t *ret_scopes, tn_error *err)
{
    uint32_t scopes = 0;

    for (const char *at = text;; at++) {
        size_t bytes = strcspn(at, ",");
        uint32_t bit = find_scope(at, bytes);
        if (!bit)
            return tn_fail(err, TN_E_ARGUMENT, "'%.*s' is no scope: there are infer, batch and admin",
                           (int)(bytes < 40 ? bytes : 40), at);
        scopes |= bit;
        at += bytes;
        if (*at == '\0')
            break;
    }
    *ret_scopes = scopes;
    return TN_OK;
}

char *scopes_format(uint32_t scopes, char text[SCOPES_TEXT_BYTES])
{
    text[0] = '\0';
    for (size_t i = 0; i < NAMES; i++) {
        if (!(scopes & names[i].bit))
            continue;
        if (text[0])
            strcat(text, ",");
        strcat(text, names[i].name);
    }
    return text;
}

/* A trailing slash is not a different path. */
static bool path_matches(const char *pattern, const char *path)
{
    size_t known = strlen(pattern), bytes = strlen(path);

    if (pattern[known - 1] == '*')
        return bytes >= known - 1 && memcmp(path, pattern, known - 1) == 0;
    bytes -= bytes > 1 && path[bytes - 1] == '/';
    return bytes == known && memcmp(path, pattern, known) == 0;
}

uint32_t scopes_needed(const char *method, const char *path)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if ((routes[i].method[0] == '*' || strcmp(routes[i].method, method) == 0) && path_matches(routes[i].path, path))
            return routes[i].scopes;
    return TN_SCOPE_ADMIN;
}
