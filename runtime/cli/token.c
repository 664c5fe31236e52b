/* token.c: `tenon token create|list|revoke`: the tokens that clients of `tenon serve` and the daemon must present. */
#include "auth/token_file.h"
#include "cli/command.h"
#include "settings/settings.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct token_flags {
    const char *file, *scope, *expires;
    bool json;
} token_flags;

/* ---- what is asked ---- */

/* *ret_path owned. */
static tn_status find_file(const token_flags *f, const args *a, char **ret_path, tn_error *err)
{
    settings *settings = NULL;
    tn_status status = settings_read(a->ini, a->sets, &settings, err);
    const char *path = f->file ? f->file : status == TN_OK ? settings_string(settings, "auth", "token_file") : NULL;

    if (status == TN_OK && !path)
        status =
            tn_fail(err, TN_E_ARGUMENT, "which token file? give --file FILE, or --config with [auth] token_file in it");
    if (status == TN_OK && !(*ret_path = strdup(path)))
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a path");
    settings_destroy(settings);
    return status;
}

/* A time, or "90d", "12h": from now. NULL: never, 0. */
static tn_status read_expiry(const char *text, int64_t now, int64_t *ret_expires, tn_error *err)
{
    char *end = NULL;

    *ret_expires = 0;
    if (!text)
        return TN_OK;
    if (!token_time_parse(text, ret_expires)) {
        long count = strtol(text, &end, 10);
        long unit = strcmp(end, "d") == 0 ? 86400 : strcmp(end, "h") == 0 ? 3600 : 0;
        if (end == text || unit == 0 || count < 1 || count > 100000)
            return tn_fail(err, TN_E_ARGUMENT,
                           "--expires %.40s: give a day (2027-01-31), a time in UTC "
                           "(2027-01-31T12:00:00Z), days (90d) or hours (12h)",
                           text);
        *ret_expires = now + (int64_t)count * unit;
    }
    return *ret_expires > now ? TN_OK : tn_fail(err, TN_E_ARGUMENT, "--expires %.40s has passed already", text);
}

/* ---- create, revoke ---- */

static void print_created(const token *token, const char *text, bool json)
{
    char scopes[SCOPES_TEXT_BYTES];

    if (json)
        printf("{\"name\": \"%s\", \"scopes\": \"%s\", \"token\": \"%s\"}\n", token->name,
               scopes_format(token->scopes, scopes), text);
    else
        printf("%s\n", text);
    fprintf(stderr, "tenon: this is the only time that the token of %s is shown\n", token->name);
}

static tn_status create_token(const token_flags *f, const char *path, const char *name, tn_error *err)
{
    const int64_t now = (int64_t)time(NULL);
    char text[TOKEN_TEXT_BYTES];
    int64_t expires = 0;
    uint32_t scopes = 0;
    token_list list = {0};
    token_change *change = NULL;

    tn_status status = scopes_parse(f->scope, &scopes, err);
    if (status == TN_OK)
        status = read_expiry(f->expires, now, &expires, err);
    if (status == TN_OK)
        status = token_change_begin(path, &list, &change, err);
    if (status != TN_OK)
        return status;
    status = token_list_add(&list, name, scopes, now, expires, text, err);
    if (status == TN_OK)
        status = token_change_end(change, &list, err);
    else
        token_change_abandon(change);
    if (status == TN_OK)
        print_created(&list.at[list.count - 1], text, f->json);
    explicit_bzero(text, sizeof text);
    token_list_finish(&list);
    return status;
}

static tn_status revoke_token(const char *path, const char *name, tn_error *err)
{
    token_list list = {0};
    token_change *change = NULL;

    tn_status status = token_change_begin(path, &list, &change, err);
    if (status != TN_OK)
        return status;
    status = token_list_remove(&list, name, err);
    if (status == TN_OK)
        status = token_change_end(change, &list, err);
    else
        token_change_abandon(change);
    token_list_finish(&list);
    return status;
}

/* ---- list ---- */

static json_t *token_json(const token *token)
{
    char scopes[SCOPES_TEXT_BYTES], created[TOKEN_TIME_BYTES], expires[TOKEN_TIME_BYTES];

    return json_pack("{s:s, s:s, s:s, s:s?}", "name", token->name, "scopes", scopes_format(token->scopes, scopes),
                     "created", token_time_format(token->created, created), "expires",
                     token->expires ? token_time_format(token->expires, expires) : NULL);
}

static void print_token(const token *token)
{
    char scopes[SCOPES_TEXT_BYTES], created[TOKEN_TIME_BYTES], expires[TOKEN_TIME_BYTES] = "never";

    if (token->expires)
        token_time_format(token->expires, expires);
    printf("%-24s %-18s %-22s %s%s\n", token->name, scopes_format(token->scopes, scopes),
           token_time_format(token->created, created), expires,
           token->expires && token->expires <= (int64_t)time(NULL) ? " (expired)" : "");
}

static tn_status list_tokens(const token_flags *f, const char *path, tn_error *err)
{
    token_list list = {0};
    json_t *array = json_array();

    tn_status status = token_file_read(path, &list, NULL, err);
    if (status == TN_OK && !f->json)
        printf("%-24s %-18s %-22s %s\n", "name", "scopes", "created", "expires");
    for (uint32_t i = 0; i < list.count; i++) {
        json_array_append_new(array, token_json(&list.at[i]));
        if (!f->json)
            print_token(&list.at[i]);
    }
    if (status == TN_OK && f->json) {
        json_dumpf(array, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
        putchar('\n');
    }
    json_decref(array);
    token_list_finish(&list);
    return status;
}

/* ---- the command ---- */

static int usage(const char *what)
{
    fprintf(stderr, "tenon token: %s; `tenon token --help` explains it\n", what);
    return EXIT_USAGE;
}

/* -1, or the exit code of wrong usage. */
static int check_usage(const token_flags *f, const args *a)
{
    const char *verb = a->positional[0];
    bool is_create = strcmp(verb, "create") == 0, is_list = strcmp(verb, "list") == 0;

    if (!is_create && !is_list && strcmp(verb, "revoke") != 0)
        return usage("there are create, list and revoke");
    if (a->positional_count != (is_list ? 1u : 2u))
        return usage(is_list ? "list takes no name" : "the token's name is missing");
    if (is_create && !f->scope)
        return usage("--scope says what the token is for: infer, batch, admin, or several with commas");
    if (!is_create && (f->scope || f->expires))
        return usage("--scope and --expires go with create");
    return -1;
}

static int run_token(const command *command, int argc, char **argv)
{
    token_flags f = {0};
    const flag flags[] = {
        {"scope", "SCOPES", FLAG_STRING, &f.scope, NULL, "create: infer, batch, admin; several with commas"},
        {"expires", "WHEN", FLAG_STRING, &f.expires, NULL, "create: 90d, 12h, 2027-01-31; never without it"},
        {"file", "FILE", FLAG_STRING, &f.file, NULL, "the token file (default: [auth] token_file)"},
        {"json", NULL, FLAG_SWITCH, &f.json, NULL, "create, list: as JSON"},
    };
    args a;
    char *path = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    code = check_usage(&f, &a);
    if (code >= 0) {
        args_finish(&a);
        return code;
    }
    tn_status status = find_file(&f, &a, &path, &err);
    if (status == TN_OK && strcmp(a.positional[0], "create") == 0)
        status = create_token(&f, path, a.positional[1], &err);
    else if (status == TN_OK && strcmp(a.positional[0], "revoke") == 0)
        status = revoke_token(path, a.positional[1], &err);
    else if (status == TN_OK)
        status = list_tokens(&f, path, &err);
    free(path);
    args_finish(&a);
    return status == TN_OK ? 0 : report(&err);
}

const command command_token = {
    .name = "token",
    .arguments = "create NAME | list | revoke NAME",
    .summary = "tokens that clients must present: create, list, revoke",
    .help = "create prints the token, once: the file keeps its hash. Servers that run see every change at once.\n"
            "Scopes: infer lets requests to models in, batch jobs over many rows, admin all below /admin/v1.",
    .positional_min = 1,
    .positional_max = 2,
    .run = run_token,
};
