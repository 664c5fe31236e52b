/* daemon_client.c: one libcurl handle for a command's requests, which follow each other. */
#include "cli/daemon_client.h"

#include "hub/curl_library.h"
#include "version.h"

#include <stdlib.h>
#include <string.h>

enum { ANSWER_BYTES_MAX = 64 << 20, CONNECT_SECONDS = 10, ADDRESS_BYTES_MAX = DAEMON_ADDRESS_BYTES };
#define ROOT "/admin/v1"

struct daemon_client {
    curl_library curl;
    CURL *easy;
    daemon_address address;       /* for messages */
    char base[ADDRESS_BYTES_MAX]; /* of URLs */
    char *token;                  /* owned; NULL: none */
    char reason[CURL_ERROR_SIZE];
    char *text; /* owned: the answer so far */
    size_t bytes;
    bool printing, too_large;
    unsigned char last_byte; /* printed */
};

/* ---- which daemon ---- */

static bool set_text(daemon_client *c, CURLoption option, const char *text)
{
    return c->curl.easy_setopt(c->easy, option, text) == CURLE_OK;
}

static bool set_number(daemon_client *c, CURLoption option, long number)
{
    return c->curl.easy_setopt(c->easy, option, number) == CURLE_OK;
}

static tn_status set_server(daemon_client *c, tn_error *err)
{
    const char *server = c->address.text;
    bool local = strncmp(server, "unix:", 5) == 0, set = true;

    if (!local && strncmp(server, "http://", 7) != 0 && strncmp(server, "https://", 8) != 0)
        return tn_fail(err, TN_E_ARGUMENT, "the server %.200s: give unix:/path, http://HOST:PORT or https://HOST:PORT",
                       server);
    snprintf(c->base, sizeof c->base, "%s", local ? "http://localhost" : server);
    for (size_t n = strlen(c->base); n && c->base[n - 1] == '/'; n--)
        c->base[n - 1] = '\0';
    if (local)
        set = set_text(c, CURLOPT_UNIX_SOCKET_PATH, server + 5);
    return set ? TN_OK : tn_fail(err, TN_E_UNSUPPORTED, "libcurl refuses the address %.200s", server);
}

/* ---- what comes in ---- */

static long code_of(const daemon_client *c)
{
    long code = 0;
    c->curl.easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &code);
    return code;
}

/* Logs hold what others wrote; what a terminal would obey becomes '?'. Changes data. */
static void make_plain(daemon_client *c, char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)data[i];
        bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
        bool second = c->last_byte == 0xc2 && byte >= 0x80 && byte < 0xa0;
        c->last_byte = byte;
        if (control || second)
            data[i] = '?';
        if (second && i > 0) /* else the first of the two has been printed, and means nothing alone */
            data[i - 1] = '?';
    }
}

static size_t take_body(char *data, size_t size, size_t count, void *ctx)
{
    daemon_client *c = ctx;
    size_t bytes = size * count;

    if (c->printing && code_of(c) == 200) {
        make_plain(c, data, bytes);
        size_t written = fwrite(data, 1, bytes, stdout);
        return output_flush() ? written : 0;
    }
    c->too_large = bytes > ANSWER_BYTES_MAX - c->bytes;
    char *grown = c->too_large ? NULL : realloc(c->text, c->bytes + bytes + 1);
    if (!grown)
        return 0;
    c->text = grown;
    memcpy(c->text + c->bytes, data, bytes);
    c->bytes += bytes;
    return bytes;
}

/* ---- life ---- */

static tn_status set_common(daemon_client *c, tn_error *err)
{
    bool set = c->curl.easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
               c->curl.easy_setopt(c->easy, CURLOPT_WRITEDATA, c) == CURLE_OK &&
               c->curl.easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->reason) == CURLE_OK &&
               set_text(c, CURLOPT_PROTOCOLS_STR, "http,https") && set_text(c, CURLOPT_PROXY, "") &&
               set_text(c, CURLOPT_USERAGENT, "tenon/" TENON_VERSION) && set_number(c, CURLOPT_NOSIGNAL, 1) &&
               set_number(c, CURLOPT_FOLLOWLOCATION, 0) && set_number(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS) &&
               (!c->token || (set_number(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER) &&
                              set_text(c, CURLOPT_XOAUTH2_BEARER, c->token)));
    return set ? TN_OK : tn_fail(err, TN_E_UNSUPPORTED, "libcurl refuses an option; version 7.85 or newer is needed");
}

tn_status daemon_client_open(const daemon_flags *flags, const args *args, daemon_client **ret_client, tn_error *err)
{
    const char *variable = secure_getenv("TENON_TOKEN");
    const char *token = flags->token ? flags->token : variable && variable[0] ? variable : NULL;
    daemon_client *c = calloc(1, sizeof *c);

    if (!c)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a client");
    tn_status status = daemon_address_find(flags->server, args, &c->address, err);
    if (status == TN_OK)
        status = curl_library_load(&c->curl, err);
    if (status == TN_OK && !(c->easy = c->curl.easy_init()))
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a client");
    if (status == TN_OK && token && !(c->token = strdup(token)))
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a token");
    if (status == TN_OK)
        status = set_common(c, err);
    if (status == TN_OK)
        status = set_server(c, err);
    if (status != TN_OK) {
        daemon_client_close(c);
        return status;
    }
    *ret_client = c;
    return TN_OK;
}

void daemon_client_close(daemon_client *c)
{
    if (!c)
        return;
    if (c->easy)
        c->curl.easy_cleanup(c->easy);
    if (c->token)
        explicit_bzero(c->token, strlen(c->token));
    free(c->token);
    free(c->text);
    free(c);
}

/* ---- asking ---- */

static tn_status fail_exchange(const daemon_client *c, CURLcode code, tn_error *err)
{
    const char *why = c->reason[0] ? c->reason : c->curl.easy_strerror(code);
    long number = 0;

    /* Of a socket libcurl speaks as if it were a port. */
    if (strncmp(c->address.text, "unix:", 5) == 0 &&
        c->curl.easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &number) == CURLE_OK && number)
        why = strerror((int)number);
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        return tn_fail(err, TN_E_NOT_FOUND,
                       "no daemon answers at %.200s (%.160s); `tenon daemon FILE.ini` starts one, --server ADDRESS "
                       "names another%s%s",
                       c->address.text, why, c->address.tried[0] ? "; " : "", c->address.tried);
    if (c->too_large)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: the answer is larger than 64 MiB", c->address.text);
    return tn_fail(err, TN_E_IO, "%.200s: %.200s", c->address.text, why);
}

static tn_status perform(daemon_client *c, daemon_answer *ret_answer, tn_error *err)
{
    json_error_t error;

    c->bytes = 0;
    c->reason[0] = '\0';
    c->too_large = false;
    CURLcode code = c->curl.easy_perform(c->easy);
    if (code == CURLE_WRITE_ERROR && c->printing && !output_flush())
        code = CURLE_OK; /* the reader of our output has left */
    if (code != CURLE_OK)
        return fail_exchange(c, code, err);
    *ret_answer = (daemon_answer){.code = code_of(c)};
    if (c->bytes == 0)
        return TN_OK;
    ret_answer->json = json_loadb(c->text, c->bytes, 0, &error);
    if (!ret_answer->json && ret_answer->code < 400)
        return tn_fail(err, TN_E_CORRUPT, "%.200s answers what is no JSON: is this a daemon of Tenon?",
                       c->address.text);
    return TN_OK;
}

/* Each request sets all that differs from one to the next. */
static tn_status ask(daemon_client *c, const char *method, const char *path, const char *body, uint32_t seconds,
                     daemon_answer *ret_answer, tn_error *err)
{
    char url[ADDRESS_BYTES_MAX + DAEMON_PATH_BYTES + 16];
    struct curl_slist *headers = c->curl.slist_append(NULL, "Content-Type: application/json");

    snprintf(url, sizeof url, "%s" ROOT "%s", c->base, path);
    bool set = headers && c->curl.easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
               set_text(c, CURLOPT_URL, url) && set_number(c, CURLOPT_HTTPGET, 1) &&
               set_number(c, CURLOPT_TIMEOUT, (long)seconds) &&
               (!body || (set_text(c, CURLOPT_POSTFIELDS, body) && set_number(c, CURLOPT_POST, 1))) &&
               set_text(c, CURLOPT_CUSTOMREQUEST, method);
    tn_status status = set ? perform(c, ret_answer, err) : tn_fail(err, TN_E_MEMORY, "out of memory for a request");
    c->curl.slist_free_all(headers);
    return status;
}

tn_status daemon_ask(daemon_client *c, const char *method, const char *path, const json_t *body, uint32_t seconds,
                     daemon_answer *ret_answer, tn_error *err)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    if (body && !text)
        return tn_fail(err, TN_E_ARGUMENT, "the request holds text that is not UTF-8");
    c->printing = false;
    /* A request without a body says so, which servers want of a POST. */
    tn_status status = ask(c, method, path,
                           text                          ? text
                           : strcmp(method, "POST") == 0 ? ""
                                                         : NULL,
                           seconds, ret_answer, err);
    free(text);
    return status;
}

tn_status daemon_print(daemon_client *c, const char *path, daemon_answer *ret_answer, tn_error *err)
{
    c->printing = true;
    return ask(c, "GET", path, NULL, 0, ret_answer, err);
}

/* ---- paths and refusals ---- */

bool daemon_path(char path[DAEMON_PATH_BYTES], const char *prefix, const char *name, const char *suffix)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    size_t used = (size_t)snprintf(path, DAEMON_PATH_BYTES, "%s/", prefix);

    for (; *name && used + 4 < DAEMON_PATH_BYTES; name++)
        used += (size_t)snprintf(path + used, 4, strchr(plain, *name) ? "%c" : "%%%02X", (unsigned char)*name);
    size_t rest = strlen(suffix);
    if (*name || used + rest >= DAEMON_PATH_BYTES)
        return false;
    memcpy(path + used, suffix, rest + 1);
    return true;
}

int report_misfit(const json_t *plan)
{
    const json_t *fixes = json_object_get(plan, "fixes");
    size_t i;
    json_t *fix;

    if (json_array_size(fixes) == 0)
        return EXIT_MISFIT;
    fprintf(stderr, "tenon: each of these makes it fit (flags of `tenon plan`):\n");
    json_array_foreach(fixes, i, fix)
    {
        const char *flags = json_string_value(json_object_get(fix, "flags"));
        const char *effect = json_string_value(json_object_get(fix, "effect"));
        fputs("  ", stderr);
        print_plain(stderr, flags ? flags : "");
        fputs("  ", stderr);
        print_plain(stderr, effect ? effect : "");
        fputc('\n', stderr);
    }
    return EXIT_FITS_CHANGED;
}

int daemon_report(const daemon_answer *answer)
{
    const json_t *plan = json_object_get(answer->json, "plan");
    const char *message = json_string_value(json_object_get(json_object_get(answer->json, "error"), "message"));
    tn_error err = TN_ERROR_INIT;

    if (message)
        tn_fail(&err, TN_E_ARGUMENT, "%s", message);
    else
        tn_fail(&err, TN_E_ARGUMENT, "the daemon refuses with status %ld", answer->code);
    report(&err);
    if (answer->code == 401 || answer->code == 403)
        fprintf(stderr, "tenon: --token or TENON_TOKEN must hold a token with scope admin (`tenon token create`)\n");
    return answer->code == 422 && plan ? report_misfit(plan) : EXIT_FAILURE;
}
