/* options.h: the settings of this plugin, read once at start. */
#ifndef HTTP_OPTIONS_H
#define HTTP_OPTIONS_H

#include "tenon/plugin.h"

#include <stdbool.h>

enum { HTTP_LISTENERS_MAX = 8, HTTP_CONNECTIONS_MAX = 16384 };

typedef struct http_options {
    char *listen;             /* comma list, owned */
    char **keys;              /* API keys, owned; from api_key and api_key_file */
    uint32_t key_count;       /* 0: no authentication */
    char *tls_cert, *tls_key; /* PEM text, owned; NULL: plain HTTP */
    const char *tls_cert_path, *tls_key_path;
    uint64_t max_body_bytes, max_header_bytes, max_unsent_bytes;
    uint32_t max_json_depth, max_connections, max_prompts;
    uint32_t request_timeout_s, idle_timeout_s, threads;
    bool vllm_metric_names;
} http_options;

/* The table that the plugin's entry declares. */
extern const tn_option http_option_table[];
extern const uint32_t http_option_count;

/* Errors name the key, and the file where one is concerned. */
tn_status http_options_read(const tn_host *host, http_options *ret_options, tn_error *err);
void http_options_finish(http_options *options); /* wipes the keys; half-read options are fine */

#endif
