/* runtime/hub/late_curl.h: sdk/client, compiled for the tenon program: its calls of libcurl go to the one that
 * curl_library_load finds. Included before each of its sources (see meson.build); late_curl_load comes before a call.
 */
#ifndef HUB_LATE_CURL_H
#define HUB_LATE_CURL_H

#include "hub/curl_library.h"

extern curl_library late_curl;

/* Errors: curl_library_load's. */
tn_status late_curl_load(tn_error *err);

#ifdef LATE_CURL_CALLS
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt
#define curl_global_init         late_curl.global_init
#define curl_easy_init           late_curl.easy_init
#define curl_easy_setopt         late_curl.easy_setopt
#define curl_easy_getinfo        late_curl.easy_getinfo
#define curl_easy_strerror       late_curl.easy_strerror
#define curl_easy_cleanup        late_curl.easy_cleanup
#define curl_easy_reset          late_curl.easy_reset
#define curl_multi_init          late_curl.multi_init
#define curl_multi_setopt        late_curl.multi_setopt
#define curl_multi_add_handle    late_curl.multi_add_handle
#define curl_multi_remove_handle late_curl.multi_remove_handle
#define curl_multi_socket_action late_curl.multi_socket_action
#define curl_multi_info_read     late_curl.multi_info_read
#define curl_multi_strerror      late_curl.multi_strerror
#define curl_multi_cleanup       late_curl.multi_cleanup
#define curl_slist_append        late_curl.slist_append
#define curl_slist_free_all      late_curl.slist_free_all
#define curl_url                 late_curl.url
#define curl_url_set             late_curl.url_set
#define curl_url_get             late_curl.url_get
#define curl_url_cleanup         late_curl.url_cleanup
#define curl_free                late_curl.free
#endif

#endif
