/* runtime/hub/curl_library.h: libcurl, found when a connection is to be opened and not before. No program of ours is
 * linked with it, so a server that never pulls has no code in it that connects anywhere.
 */
#ifndef HUB_CURL_LIBRARY_H
#define HUB_CURL_LIBRARY_H

#include "tenon/error.h"

#include <curl/curl.h>

#define CURL_FUNCTIONS(X)  \
    X(global_init)         \
    X(easy_init)           \
    X(easy_setopt)         \
    X(easy_getinfo)        \
    X(easy_strerror)       \
    X(easy_cleanup)        \
    X(easy_perform)        \
    X(slist_append)        \
    X(slist_free_all)      \
    X(easy_reset)          \
    X(multi_init)          \
    X(multi_setopt)        \
    X(multi_add_handle)    \
    X(multi_remove_handle) \
    X(multi_perform)       \
    X(multi_poll)          \
    X(multi_socket_action) \
    X(multi_info_read)     \
    X(multi_strerror)      \
    X(multi_cleanup)       \
    X(url)                 \
    X(url_set)             \
    X(url_get)             \
    X(url_cleanup)         \
    X(free)

typedef struct curl_library {
#define CURL_MEMBER(name) __typeof__(curl_##name) *name;
    CURL_FUNCTIONS(CURL_MEMBER)
#undef CURL_MEMBER
} curl_library;

/* Loads it once for the process; never unloaded. TN_E_UNSUPPORTED: there is none, and the message says what to install.
 */
tn_status curl_library_load(curl_library *ret_library, tn_error *err);

#endif
