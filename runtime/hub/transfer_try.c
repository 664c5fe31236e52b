/* runtime/hub/transfer_try.c: see transfer_try.h. */
#include "hub/transfer_try.h"

#include "file/whole_file.h"
#include "version.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { REDIRECTS_MAX = 10, CONNECT_SECONDS = 30, STALL_SECONDS = 60, AFTER_SECONDS_MAX = 120 };

/* ---- what comes in ---- */

static bool stop(transfer_try *attempt, tn_status status)
{
    attempt->status = status;
    return false;
}

static bool take_text(transfer_try *attempt, const char *data, size_t bytes)
{
    transfer *t = attempt->transfer;

    if (bytes > t->text_max - t->have)
        return stop(attempt,
                    tn_fail(&attempt->fault, TN_E_CORRUPT, "%.200s: the hub's answer is larger than %" PRIu64 " bytes",
                            t->name, t->text_max));
    char *grown = realloc(t->text, t->have + bytes + 1);
    if (!grown)
        return stop(attempt, tn_fail(&attempt->fault, TN_E_MEMORY, "out of memory for the hub's answer"));
    memcpy(grown + t->have, data, bytes);
    t->text = grown;
    t->have += bytes;
    t->text[t->have] = '\0';
    return true;
}

static bool take_file(transfer_try *attempt, const char *data, size_t bytes)
{
    transfer *t = attempt->transfer;

    if (bytes > t->bytes - t->have)
        return stop(attempt,
                    tn_fail(&attempt->fault, TN_E_CORRUPT,
                            "%.200s: the hub sends more than the %" PRIu64 " bytes it promised", t->name, t->bytes));
    if (!write_all(t->fd, data, bytes))
        return stop(attempt, tn_fail(&attempt->fault, TN_E_IO, "%.300s: %s", t->name, strerror(errno)));
    t->have += bytes;
    if (attempt->rules->meter)
        meter_add(attempt->rules->meter, bytes);
    return true;
}

/* Forgets what was received. */
static bool start_over(transfer_try *attempt)
{
    transfer *t = attempt->transfer;

    if (t->directory && attempt->rules->meter)
        attempt->rules->meter->done -= t->have;
    t->have = 0;
    if (!t->directory || (ftruncate(t->fd, 0) == 0 && lseek(t->fd, 0, SEEK_SET) == 0))
        return true;
    return stop(attempt, tn_fail(&attempt->fault, TN_E_IO, "%.300s: %s", t->name, strerror(errno)));
}

/* Before the first byte: it goes on where the file ends, or, where the hub gives all, from the beginning. */
static bool begin_body(transfer_try *attempt, long code)
{
    transfer *t = attempt->transfer;

    attempt->begun = true;
    if (attempt->encoded)
        return stop(attempt, tn_fail(&attempt->fault, TN_E_CORRUPT,
                                     "%.200s: the hub sends it compressed, which was not asked for; a proxy in between "
                                     "that does so is to leave it as it is",
                                     t->name));
    if (code == 206 && attempt->range_start != t->have)
        return stop(attempt, tn_fail(&attempt->fault, TN_E_CORRUPT,
                                     "%.200s: the hub sends bytes from %" PRIu64 " on; %" PRIu64 " were asked for",
                                     t->name, attempt->range_start, t->have));
    return code != 200 || t->have == 0 || start_over(attempt);
}

static long code_of(const transfer_try *attempt)
{
    long code = 0;
    attempt->rules->curl->easy_getinfo(attempt->easy, CURLINFO_RESPONSE_CODE, &code);
    return code;
}

/* Bodies of errors and redirects are passed over. */
static size_t take_body(char *data, size_t size, size_t count, void *ctx)
{
    transfer_try *attempt = ctx;
    size_t bytes = size * count;
    long code = code_of(attempt);

    if (code != 200 && code != 206)
        return bytes;
    if (!attempt->begun && !begin_body(attempt, code))
        return 0;
    if (!(attempt->transfer->directory ? take_file : take_text)(attempt, data, bytes))
        return 0;
    return bytes;
}

/* What follows "NAME:" and blanks in a line of the head; NULL: it is another header's. */
static const char *value_of(const char *line, const char *name)
{
    size_t bytes = strlen(name);

    if (strncasecmp(line, name, bytes) != 0 || line[bytes] != ':')
        return NULL;
    return line + bytes + 1 + strspn(line + bytes + 1, " \t");
}

static size_t take_header(char *data, size_t size, size_t count, void *ctx)
{
    transfer_try *attempt = ctx;
    size_t bytes = size * count, kept;
    const char *value;
    char line[128];

    kept = bytes < sizeof line ? bytes : sizeof line - 1;
    memcpy(line, data, kept);
    line[kept] = '\0';
    if ((value = value_of(line, "content-range")) && strncasecmp(value, "bytes ", strlen("bytes ")) == 0)
        attempt->range_start = strtoull(value + strlen("bytes "), NULL, 10);
    if ((value = value_of(line, "content-encoding")))
        attempt->encoded = strncasecmp(value, "identity", strlen("identity")) != 0 && !strchr("\r\n", *value);
    return bytes;
}

/* ---- what goes out ---- */

static bool set_text(transfer_try *attempt, CURLoption option, const char *text)
{
    return attempt->rules->curl->easy_setopt(attempt->easy, option, text) == CURLE_OK;
}

static bool set_number(transfer_try *attempt, CURLoption option, long number)
{
    return attempt->rules->curl->easy_setopt(attempt->easy, option, number) == CURLE_OK;
}

static bool set_pointer(transfer_try *attempt, CURLoption option, void *pointer)
{
    return attempt->rules->curl->easy_setopt(attempt->easy, option, pointer) == CURLE_OK;
}

static bool set_callbacks(transfer_try *attempt)
{
    const curl_library *curl = attempt->rules->curl;

    return curl->easy_setopt(attempt->easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           curl->easy_setopt(attempt->easy, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
           set_pointer(attempt, CURLOPT_WRITEDATA, attempt) && set_pointer(attempt, CURLOPT_HEADERDATA, attempt) &&
           set_pointer(attempt, CURLOPT_PRIVATE, attempt) && set_pointer(attempt, CURLOPT_ERRORBUFFER, attempt->reason);
}

/* A hub on this machine is asked without a proxy, which would see the token in the clear. */
static bool set_proxy(transfer_try *attempt)
{
    return !attempt->rules->endpoint->loopback || set_text(attempt, CURLOPT_PROXY, "");
}

/* The directory of the system's authorities would count beside the file. */
static bool set_authorities(transfer_try *attempt)
{
    const char *file = attempt->rules->ca_file;
    return !file || (set_text(attempt, CURLOPT_CAINFO, file) && set_text(attempt, CURLOPT_CAPATH, NULL));
}

static bool set_common(transfer_try *attempt)
{
    return set_callbacks(attempt) && set_proxy(attempt) && set_authorities(attempt) &&
           set_text(attempt, CURLOPT_PROTOCOLS_STR, "http,https") &&
           set_text(attempt, CURLOPT_USERAGENT, "tenon/" TENON_VERSION) && set_number(attempt, CURLOPT_NOSIGNAL, 1) &&
           set_number(attempt, CURLOPT_FOLLOWLOCATION, 0) && set_text(attempt, CURLOPT_ACCEPT_ENCODING, "identity") &&
           set_number(attempt, CURLOPT_HTTP_CONTENT_DECODING, 0) &&
           set_number(attempt, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS) &&
           set_number(attempt, CURLOPT_LOW_SPEED_LIMIT, 1) &&
           set_number(attempt, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
}

/* Everything that differs from step to step: the address, whether the token may go there, and from which byte on. */
static tn_status prepare_step(transfer_try *attempt, tn_error *err)
{
    const transfer_rules *rules = attempt->rules;
    const transfer *t = attempt->transfer;
    char range[32];
    bool home = false;
    tn_status status = hub_url_check(rules->curl, rules->endpoint, attempt->url, &home, err);

    if (status != TN_OK)
        return status;
    bool with_token = home && rules->token;
    snprintf(range, sizeof range, "%" PRIu64 "-", t->have);
    attempt->begun = attempt->encoded = false;
    attempt->range_start = 0;
    bool set = set_text(attempt, CURLOPT_URL, attempt->url) &&
               set_text(attempt, CURLOPT_RANGE, t->directory && t->have ? range : NULL) &&
               set_number(attempt, CURLOPT_HTTPAUTH, (long)(with_token ? CURLAUTH_BEARER : CURLAUTH_NONE)) &&
               set_text(attempt, CURLOPT_XOAUTH2_BEARER, with_token ? rules->token : NULL);
    return set ? TN_OK : tn_fail(err, TN_E_INTERNAL, "libcurl refuses an option; version 7.85 or newer is needed");
}

tn_status transfer_try_create(const transfer_rules *rules, transfer *transfer, transfer_try **ret_try, tn_error *err)
{
    transfer_try *attempt = calloc(1, sizeof *attempt);

    if (!attempt)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a transfer");
    attempt->rules = rules;
    attempt->transfer = transfer;
    attempt->fault.struct_size = sizeof attempt->fault;
    attempt->easy = rules->curl->easy_init();
    snprintf(attempt->url, sizeof attempt->url, "%s", transfer->url);
    bool fits = !transfer->directory || hub_url_append(attempt->url, transfer->name, true);
    if (!transfer->directory)
        transfer->have = 0;
    tn_status status = TN_OK;
    if (!fits)
        status = tn_fail(err, TN_E_ARGUMENT, "%.200s: the address is too long", transfer->name);
    else if (!attempt->easy)
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a transfer");
    else if (!set_common(attempt))
        status = tn_fail(err, TN_E_UNSUPPORTED, "libcurl refuses an option; version 7.85 or newer is needed");
    else
        status = prepare_step(attempt, err);
    if (status != TN_OK) {
        transfer_try_destroy(attempt);
        return status;
    }
    *ret_try = attempt;
    return TN_OK;
}

void transfer_try_destroy(transfer_try *attempt)
{
    if (!attempt)
        return;
    if (attempt->easy)
        attempt->rules->curl->easy_cleanup(attempt->easy);
    free(attempt);
}

/* ---- what became of it ---- */

static try_end again(transfer_try *attempt, const char *why)
{
    tn_fail(&attempt->fault, TN_E_IO, "%.200s: %.200s", attempt->transfer->name, why);
    attempt->status = TN_E_IO;
    return TRY_AGAIN;
}

static try_end refused(transfer_try *attempt, tn_status status)
{
    attempt->status = status;
    return TRY_REFUSED;
}

/* A certificate is no better the next time. */
static try_end distrust(transfer_try *attempt, const char *why)
{
    return refused(
        attempt,
        tn_fail(
            &attempt->fault, TN_E_IO,
            "%.200s: the certificate of the hub is not to be trusted (%.160s); registry.ca_file names the authority "
            "of a hub of one's own",
            attempt->transfer->name, why));
}

static try_end follow(transfer_try *attempt)
{
    const char *to = NULL;

    attempt->rules->curl->easy_getinfo(attempt->easy, CURLINFO_REDIRECT_URL, &to);
    if (!to || strlen(to) >= sizeof attempt->url || ++attempt->redirects > REDIRECTS_MAX)
        return refused(attempt,
                       tn_fail(&attempt->fault, TN_E_CORRUPT,
                               "%.200s: the hub sends us round without an end, or nowhere", attempt->transfer->name));
    strcpy(attempt->url, to);
    tn_status status = prepare_step(attempt, &attempt->fault);
    return status == TN_OK ? TRY_STEP : refused(attempt, status);
}

static try_end judge_code(transfer_try *attempt, long code)
{
    const char *name = attempt->transfer->name;
    char text[64];

    switch (code) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
        return follow(attempt);
    case 401:
    case 403:
        return refused(
            attempt,
            tn_fail(&attempt->fault, TN_E_ARGUMENT,
                    "%.200s: the hub refuses access (%ld)%s; a private or gated model needs a token with its terms "
                    "accepted, in HF_TOKEN or --token-file",
                    name, code, attempt->rules->token ? " with this token" : ""));
    case 404:
        return refused(attempt, tn_fail(&attempt->fault, TN_E_NOT_FOUND,
                                        "%.200s: the hub has no such model, revision or file (404)", name));
    case 416: /* what is there is longer than what the hub has */
        if (!start_over(attempt))
            return TRY_REFUSED;
        return again(attempt, "the hub has fewer bytes than were received before");
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        snprintf(text, sizeof text, "the hub answers with status %ld", code);
        return again(attempt, text);
    default:
        return refused(attempt,
                       tn_fail(&attempt->fault, TN_E_IO, "%.200s: the hub answers with status %ld", name, code));
    }
}

try_end transfer_try_judge(transfer_try *attempt, CURLcode code, double *ret_after_seconds)
{
    const transfer *t = attempt->transfer;
    long http = code_of(attempt);
    curl_off_t after = 0;

    *ret_after_seconds = 0;
    if (attempt->status != TN_OK)
        return TRY_REFUSED;
    const char *why = attempt->reason[0] ? attempt->reason : attempt->rules->curl->easy_strerror(code);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return distrust(attempt, why);
    if (code != CURLE_OK)
        return again(attempt, why);
    attempt->rules->curl->easy_getinfo(attempt->easy, CURLINFO_RETRY_AFTER, &after);
    *ret_after_seconds = after > AFTER_SECONDS_MAX ? AFTER_SECONDS_MAX : (double)after;
    if (http != 200 && http != 206)
        return judge_code(attempt, http);
    if (t->directory && t->have < t->bytes)
        return again(attempt, "the hub sent less than it promised");
    return TRY_DONE;
}
