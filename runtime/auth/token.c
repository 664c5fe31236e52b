/* token.c: see token.h. */
#include "auth/token.h"

#include "base/hex.h"
#include "registry/name_rule.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Lets scanners for leaked secrets see what it is. */
#define TOKEN_PREFIX "tenon_"

/* ---- times ---- */

char *token_time_format(int64_t time, char text[TOKEN_TIME_BYTES])
{
    time_t seconds = (time_t)time;
    struct tm utc;

    if (!gmtime_r(&seconds, &utc) || strftime(text, TOKEN_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        snprintf(text, TOKEN_TIME_BYTES, "?");
    return text;
}

bool token_time_parse(const char *text, int64_t *ret_time)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    struct tm utc = {0};
    size_t bytes = strlen(text);

    if (bytes != 10 && bytes != sizeof form - 1)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
            return false;
    utc.tm_year = atoi(text) - 1900;
    utc.tm_mon = atoi(text + 5) - 1;
    utc.tm_mday = atoi(text + 8);
    if (bytes > 10) {
        utc.tm_hour = atoi(text + 11);
        utc.tm_min = atoi(text + 14);
        utc.tm_sec = atoi(text + 17);
    }
    const struct tm asked = utc;
    time_t time = timegm(&utc);
    /* timegm carries over what no calendar has, such as the 31st of February. */
    if (time < 0 || utc.tm_year != asked.tm_year || utc.tm_mon != asked.tm_mon || utc.tm_mday != asked.tm_mday ||
        utc.tm_hour != asked.tm_hour || utc.tm_min != asked.tm_min || utc.tm_sec != asked.tm_sec)
        return false;
    *ret_time = (int64_t)time;
    return true;
}

/* ---- lists ---- */

static tn_status check_name(const char *name, tn_error *err)
{
    tn_status status = name_check("the token's name", name, err);
    if (status == TN_OK && strlen(name) > TN_TOKEN_NAME_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "the token's name %.80s has more than %d bytes", name, TN_TOKEN_NAME_MAX);
    return status;
}

static token *find_name(const token_list *list, const char *name)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (strcmp(list->at[i].name, name) == 0)
            return &list->at[i];
    return NULL;
}

static tn_status append(token_list *list, const token *added, tn_error *err)
{
    if (list->count == TOKENS_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "there are %d tokens already, the most there can be: revoke some",
                       TOKENS_MAX);
    if (find_name(list, added->name))
        return tn_fail(err, TN_E_ARGUMENT, "there is a token called %s already: revoke it first", added->name);
    token *grown = realloc(list->at, (list->count + 1) * sizeof *grown);
    if (!grown)
        return tn_fail(err, TN_E_MEMORY, "out of memory for tokens");
    list->at = grown;
    list->at[list->count++] = *added;
    return TN_OK;
}

void token_list_finish(token_list *list)
{
    free(list->at);
    *list = (token_list){0};
}

/* ---- lines ---- */

enum { FIELDS = 5 };

/* Cuts the line at blanks. False: more or fewer fields than there should be. */
static bool split(char *line, char *fields[FIELDS])
{
    char *rest = NULL;
    int count = 0;

    for (char *field = strtok_r(line, " \t", &rest); field; field = strtok_r(NULL, " \t", &rest)) {
        if (count == FIELDS)
            return false;
        fields[count++] = field;
    }
    return count == FIELDS;
}

static tn_status parse_line(char *line, token *ret_token, tn_error *err)
{
    char *fields[FIELDS];
    token token = {0};

    if (!split(line, fields))
        return tn_fail(err, TN_E_CORRUPT, "not NAME SCOPES CREATED EXPIRES SHA256");
    tn_status status = check_name(fields[0], err);
    if (status == TN_OK)
        status = scopes_parse(fields[1], &token.scopes, err);
    if (status != TN_OK)
        return status;
    if (!token_time_parse(fields[2], &token.created))
        return tn_fail(err, TN_E_CORRUPT, "'%.40s' is not the time of its creation", fields[2]);
    if (strcmp(fields[3], "-") != 0 && (!token_time_parse(fields[3], &token.expires) || token.expires <= 0))
        return tn_fail(err, TN_E_CORRUPT, "'%.40s' is neither a time of expiry nor '-'", fields[3]);
    if (!digest_parse(fields[4], &token.digest))
        return tn_fail(err, TN_E_CORRUPT, "the last field is not a SHA-256 in 64 lower-case digits");
    snprintf(token.name, sizeof token.name, "%s", fields[0]);
    *ret_token = token;
    return TN_OK;
}

/* Takes one line of `bytes` bytes into the list; comments and empty lines are passed over. */
static tn_status take_line(token_list *list, const char *text, size_t bytes, tn_error *err)
{
    char line[TOKEN_LINE_BYTES];
    token token;

    if (bytes && text[bytes - 1] == '\r')
        bytes--;
    if (bytes >= sizeof line || memchr(text, '\0', bytes))
        return tn_fail(err, TN_E_CORRUPT, "too long, or not text");
    memcpy(line, text, bytes);
    line[bytes] = '\0';
    if (line[strspn(line, " \t")] == '\0' || line[0] == '#')
        return TN_OK;
    tn_status status = parse_line(line, &token, err);
    return status == TN_OK ? append(list, &token, err) : status;
}

tn_status token_list_parse(const char *path, const char *text, size_t bytes, token_list *ret_list, tn_error *err)
{
    token_list list = {0};
    uint32_t number = 1;

    for (size_t at = 0; at < bytes; number++) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t length = end ? (size_t)(end - text) - at : bytes - at;
        tn_error why = TN_ERROR_INIT;
        tn_status status = take_line(&list, text + at, length, &why);
        if (status != TN_OK) {
            token_list_finish(&list);
            return tn_fail(err, status == TN_E_MEMORY ? status : TN_E_CORRUPT, "%.200s:%" PRIu32 ": %.200s", path,
                           number, why.msg);
        }
        at += length + 1;
    }
    *ret_list = list;
    return TN_OK;
}

size_t token_format(const token *token, char line[TOKEN_LINE_BYTES])
{
    char scopes[SCOPES_TEXT_BYTES], created[TOKEN_TIME_BYTES], expires[TOKEN_TIME_BYTES];

    int bytes = snprintf(line, TOKEN_LINE_BYTES, "%s %s %s %s %s\n", token->name, scopes_format(token->scopes, scopes),
                         token_time_format(token->created, created),
                         token->expires ? token_time_format(token->expires, expires) : "-", token->digest.hex);
    TN_ASSERT(bytes > 0 && bytes < TOKEN_LINE_BYTES);
    return (size_t)bytes;
}

/* ---- changes and questions ---- */

static bool draw(uint8_t *bytes, size_t n)
{
    return getrandom(bytes, n, 0) == (ssize_t)n; /* whole up to 256 bytes */
}

tn_status token_list_add(token_list *list, const char *name, uint32_t scopes, int64_t now, int64_t expires,
                         char ret_text[TOKEN_TEXT_BYTES], tn_error *err)
{
    token token = {.scopes = scopes, .created = now, .expires = expires};
    uint8_t bytes[TOKEN_RANDOM_BYTES];

    TN_ASSERT(scopes != 0);
    tn_status status = check_name(name, err);
    if (status != TN_OK)
        return status;
    if (!draw(bytes, sizeof bytes))
        return tn_fail(err, TN_E_IO, "the system has no random numbers for a token");
    snprintf(token.name, sizeof token.name, "%s", name);
    memcpy(ret_text, TOKEN_PREFIX, strlen(TOKEN_PREFIX));
    hex_of(bytes, sizeof bytes, ret_text + strlen(TOKEN_PREFIX));
    token.digest = digest_of_bytes(ret_text, TOKEN_TEXT_BYTES - 1);
    explicit_bzero(bytes, sizeof bytes);
    return append(list, &token, err);
}

tn_status token_list_remove(token_list *list, const char *name, tn_error *err)
{
    token *found = find_name(list, name);

    if (!found)
        return tn_fail(err, TN_E_NOT_FOUND, "there is no token called %.80s; `tenon token list` shows those there are",
                       name);
    memmove(found, found + 1, (size_t)(&list->at[list->count] - (found + 1)) * sizeof *found);
    list->count--;
    return TN_OK;
}

static bool same(const digest *a, const digest *b)
{
    volatile unsigned char difference = 0;
    for (size_t i = 0; i < DIGEST_HEX; i++)
        difference |= (unsigned char)(a->hex[i] ^ b->hex[i]);
    return difference == 0;
}

const token *token_list_find(const token_list *list, const char *presented, size_t bytes, int64_t now)
{
    const token *found = NULL;

    if (bytes != TOKEN_TEXT_BYTES - 1)
        return NULL;
    const digest digest = digest_of_bytes(presented, bytes);
    for (uint32_t i = 0; i < list->count; i++)
        if (same(&list->at[i].digest, &digest))
            found = &list->at[i];
    return found && (found->expires == 0 || now < found->expires) ? found : NULL;
}
