/* runtime/hub/curl_library.c: see curl_library.h. */
#include "hub/curl_library.h"

#include <dlfcn.h>
#include <string.h>

static void *open_any(void)
{
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
    void *library = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

tn_status curl_library_load(curl_library *ret_library, tn_error *err)
{
    curl_library loaded;
    void *library = open_any();

    if (!library)
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "libcurl is not installed, and this command needs it (Debian: apt install libcurl4)");
#define CURL_FIND(name)                                                                        \
    {                                                                                          \
        void *found = dlsym(library, "curl_" #name);                                           \
        if (!found)                                                                            \
            return tn_fail(err, TN_E_UNSUPPORTED, "libcurl is too old: it lacks curl_" #name); \
        memcpy(&loaded.name, &found, sizeof found);                                            \
    }
    CURL_FUNCTIONS(CURL_FIND)
#undef CURL_FIND
    if (loaded.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return tn_fail(err, TN_E_INTERNAL, "libcurl cannot be started");
    *ret_library = loaded;
    return TN_OK;
}
