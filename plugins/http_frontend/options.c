/* options.c: values come as text, checked against their type by the core; ranges are ours to check. */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OPTION(key, type, default_value, help)               \
    {                                                        \
        sizeof(tn_option), 0, key, type, default_value, help \
    }
const tn_option http_option_table[] = {
    OPTION("listen", "string", "127.0.0.1:8000",
           "Addresses to listen on, separated by commas: HOST:PORT, [IPV6]:PORT or unix:/path."),
    OPTION("api_key", "string", NULL, "Keys that clients must present as bearer tokens, separated by commas."),
    OPTION("api_key_file", "path", NULL, "File with one API key per line; lines that start with # are comments."),
    OPTION("tls_cert", "path", NULL, "PEM file with the certificate chain; turns TLS on together with tls_key."),
    OPTION("tls_key", "path", NULL, "PEM file with the certificate's private key."),
    OPTION("max_body_bytes", "size", "8MiB", "Largest request body."),
    OPTION("max_header_bytes", "size", "32KiB", "Memory per connection for the request line and headers."),
    OPTION("max_unsent_bytes", "size", "4MiB", "A streaming client that lets this much pile up unread is cut off."),
    OPTION("max_json_depth", "integer", "64", "Deepest nesting of a JSON body."),
    OPTION("max_connections", "integer", "2048", "Connections open at once, per address."),
    OPTION("max_prompts", "integer", "128", "Prompts in one request to /v1/completions."),
    OPTION("request_timeout", "integer", "60",
           "Seconds within which a connection must deliver its next whole request."),
    OPTION("idle_timeout", "integer", "60", "Seconds a connection may sit without a byte moving while one is due."),
    OPTION("threads", "integer", "4", "Threads that parse requests and write answers, per address."),
    OPTION("vllm_metric_names", "bool", "true", "Offer every metric under the vllm: prefix too."),
};
const uint32_t http_option_count = sizeof http_option_table / sizeof *http_option_table;

enum { FILE_BYTES_MAX = 1 << 20 };

/* The unit behind a size's number, 0 if there is none of that name: K and KiB are 1024, k and kB 1000. */
static double unit_of(const char *suffix)
{
    static const char letters[] = "kmgt";

    suffix += strspn(suffix, " ");
    if (!*suffix || strcmp(suffix, "B") == 0)
        return 1;
    const char *letter = strchr(letters, *suffix | 0x20);
    bool binary = strcmp(suffix + 1, "iB") == 0 || (!suffix[1] && *suffix >= 'A' && *suffix <= 'Z');
    if (!letter || !(binary || strcmp(suffix + 1, "B") == 0 || !suffix[1]))
        return 0;
    double unit = 1;
    for (; letter >= letters; letter--)
        unit *= binary ? 1024 : 1000;
    return unit;
}

/* "8MiB" to bytes. The core has checked the form already; this one must only agree with it. */
static bool parse_size(const char *text, uint64_t *ret_bytes)
{
    char *end;
    double number = strtod(text, &end);
    double bytes = number * unit_of(end);

    if (end == text || !unit_of(end) || !(bytes >= 0 && bytes <= 0x1p53))
        return false;
    *ret_bytes = (uint64_t)bytes;
    return true;
}

static tn_status read_size(const tn_host *host, const char *key, uint64_t min, uint64_t max, uint64_t *ret_value,
                           tn_error *err)
{
    const char *text = host->config(host, key);
    uint64_t value;
    if (!text || !parse_size(text, &value) || value < min || value > max)
        return tn_fail(err, TN_E_ARGUMENT, "http_frontend: %s = %s: must be between %llu and %llu", key,
                       text ? text : "(unset)", (unsigned long long)min, (unsigned long long)max);
    *ret_value = value;
    return TN_OK;
}

static tn_status read_count(const tn_host *host, const char *key, uint32_t min, uint32_t max, uint32_t *ret_value,
                            tn_error *err)
{
    uint64_t value;
    tn_status status = read_size(host, key, min, max, &value, err);
    if (status == TN_OK)
        *ret_value = (uint32_t)value;
    return status;
}

static tn_status read_limits(const tn_host *host, http_options *options, tn_error *err)
{
    const struct {
        const char *key;
        uint32_t min, max;
        uint32_t *value;
    } counts[] = {
        {"max_json_depth", 4, 1024, &options->max_json_depth},
        {"max_connections", 1, HTTP_CONNECTIONS_MAX, &options->max_connections},
        {"max_prompts", 1, 65535, &options->max_prompts},
        {"request_timeout", 1, 86400, &options->request_timeout_s},
        {"idle_timeout", 1, 86400, &options->idle_timeout_s},
        {"threads", 1, 64, &options->threads},
    };
    tn_status status = read_size(host, "max_body_bytes", 1024, 1u << 30, &options->max_body_bytes, err);
    if (status == TN_OK)
        status = read_size(host, "max_header_bytes", 4096, 1u << 24, &options->max_header_bytes, err);
    if (status == TN_OK)
        status = read_size(host, "max_unsent_bytes", 65536, 1u << 30, &options->max_unsent_bytes, err);
    for (size_t i = 0; status == TN_OK && i < sizeof counts / sizeof *counts; i++)
        status = read_count(host, counts[i].key, counts[i].min, counts[i].max, counts[i].value, err);
    return status;
}

/* A whole small file as terminated text. */
static tn_status read_file(const char *key, const char *path, char **ret_text, tn_error *err)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return tn_fail(err, TN_E_IO, "http_frontend: %s = %s: cannot be read: %s", key, path, strerror(errno));
    char *text = malloc(FILE_BYTES_MAX + 1);
    size_t bytes = text ? fread(text, 1, FILE_BYTES_MAX + 1, file) : 0;
    bool failed = ferror(file) != 0;
    fclose(file);
    if (!text || failed || bytes == 0 || bytes > FILE_BYTES_MAX) {
        free(text);
        return tn_fail(err, TN_E_IO, "http_frontend: %s = %s: %s", key, path,
                       failed       ? "cannot be read"
                       : bytes == 0 ? "is empty"
                                    : "is larger than 1 MiB");
    }
    text[bytes] = '\0';
    *ret_text = text;
    return TN_OK;
}

static tn_status add_key(http_options *options, const char *key, size_t bytes, tn_error *err)
{
    char **keys = realloc(options->keys, (options->key_count + 1) * sizeof *keys);
    if (!keys)
        return tn_fail(err, TN_E_MEMORY, "http_frontend: out of memory for API keys");
    options->keys = keys;
    keys[options->key_count] = strndup(key, bytes);
    if (!keys[options->key_count])
        return tn_fail(err, TN_E_MEMORY, "http_frontend: out of memory for API keys");
    options->key_count++;
    return TN_OK;
}

/* Keys between separators, blanks around them ignored. */
static tn_status add_keys(http_options *options, const char *text, const char *separators, tn_error *err)
{
    tn_status status = TN_OK;
    while (status == TN_OK && *text) {
        text += strspn(text, " \t");
        size_t bytes = strcspn(text, separators);
        size_t used = bytes;
        while (used > 0 && strchr(" \t", text[used - 1]))
            used--;
        if (used > 0 && text[0] != '#')
            status = add_key(options, text, used, err);
        text += bytes;
        text += *text != '\0';
    }
    return status;
}

static tn_status read_keys(const tn_host *host, http_options *options, tn_error *err)
{
    const char *inline_keys = host->config(host, "api_key"), *path = host->config(host, "api_key_file");
    tn_status status = TN_OK;

    if (inline_keys)
        status = add_keys(options, inline_keys, ",", err);
    if (status == TN_OK && path) {
        char *text;
        status = read_file("api_key_file", path, &text, err);
        if (status == TN_OK) {
            status = add_keys(options, text, "\r\n", err);
            explicit_bzero(text, strlen(text));
            free(text);
        }
    }
    /* A setting that was meant to lock the door must not leave it open. */
    if (status == TN_OK && (inline_keys || path) && options->key_count == 0)
        return tn_fail(err, TN_E_ARGUMENT, "http_frontend: %s holds no key; leave the setting out to serve without one",
                       path ? "api_key_file" : "api_key");
    return status;
}

static tn_status read_tls(const tn_host *host, http_options *options, tn_error *err)
{
    options->tls_cert_path = host->config(host, "tls_cert");
    options->tls_key_path = host->config(host, "tls_key");
    if (!options->tls_cert_path && !options->tls_key_path)
        return TN_OK;
    if (!options->tls_cert_path || !options->tls_key_path)
        return tn_fail(err, TN_E_ARGUMENT, "http_frontend: %s is set but %s is not; TLS needs both",
                       options->tls_cert_path ? "tls_cert" : "tls_key",
                       options->tls_cert_path ? "tls_key" : "tls_cert");
    tn_status status = read_file("tls_cert", options->tls_cert_path, &options->tls_cert, err);
    if (status == TN_OK)
        status = read_file("tls_key", options->tls_key_path, &options->tls_key, err);
    return status;
}

tn_status http_options_read(const tn_host *host, http_options *ret_options, tn_error *err)
{
    http_options options = {0};
    const char *listen = host->config(host, "listen"), *vllm = host->config(host, "vllm_metric_names");

    options.vllm_metric_names = vllm && (strcmp(vllm, "true") == 0 || strcmp(vllm, "yes") == 0 ||
                                         strcmp(vllm, "on") == 0 || strcmp(vllm, "1") == 0);
    options.listen = strdup(listen ? listen : "");
    tn_status status =
        options.listen ? read_limits(host, &options, err) : tn_fail(err, TN_E_MEMORY, "http_frontend: out of memory");
    if (status == TN_OK)
        status = read_keys(host, &options, err);
    if (status == TN_OK)
        status = read_tls(host, &options, err);
    if (status != TN_OK) {
        http_options_finish(&options);
        return status;
    }
    *ret_options = options;
    return TN_OK;
}

void http_options_finish(http_options *options)
{
    for (uint32_t i = 0; i < options->key_count; i++) {
        explicit_bzero(options->keys[i], strlen(options->keys[i]));
        free(options->keys[i]);
    }
    if (options->tls_key)
        explicit_bzero(options->tls_key, strlen(options->tls_key));
    free(options->keys);
    free(options->listen);
    free(options->tls_cert);
    free(options->tls_key);
    *options = (http_options){0};
}
