/* runtime/hub/late_curl.c: see late_curl.h. */
#include "hub/late_curl.h"

curl_library late_curl;

tn_status late_curl_load(tn_error *err)
{
    return curl_library_load(&late_curl, err);
}
