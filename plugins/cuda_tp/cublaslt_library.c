/* cublaslt_library.c: see cublaslt_library.h. */
#include "cublaslt_library.h"

#include "host_log.h"
#include "options.h"
#include "symbols.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* under lock: */
static void *library;
static cublaslt_library functions; /* all there once library is set */

static const symbol symbols[] = {
    {"cublasLtGetVersion", offsetof(cublaslt_library, get_version)},
    {"cublasLtGetStatusString", offsetof(cublaslt_library, status_string)},
    {"cublasLtCreate", offsetof(cublaslt_library, create)},
    {"cublasLtDestroy", offsetof(cublaslt_library, destroy)},
    {"cublasLtMatmulDescCreate", offsetof(cublaslt_library, product_create)},
    {"cublasLtMatmulDescDestroy", offsetof(cublaslt_library, product_destroy)},
    {"cublasLtMatmulDescSetAttribute", offsetof(cublaslt_library, product_set)},
    {"cublasLtMatrixLayoutCreate", offsetof(cublaslt_library, layout_create)},
    {"cublasLtMatrixLayoutDestroy", offsetof(cublaslt_library, layout_destroy)},
    {"cublasLtMatrixLayoutSetAttribute", offsetof(cublaslt_library, layout_set)},
    {"cublasLtMatmulPreferenceCreate", offsetof(cublaslt_library, preference_create)},
    {"cublasLtMatmulPreferenceDestroy", offsetof(cublaslt_library, preference_destroy)},
    {"cublasLtMatmulPreferenceSetAttribute", offsetof(cublaslt_library, preference_set)},
    {"cublasLtMatmulAlgoGetHeuristic", offsetof(cublaslt_library, propose)},
    {"cublasLtMatmulAlgoCheck", offsetof(cublaslt_library, check)},
    {"cublasLtMatmul", offsetof(cublaslt_library, multiply)},
};

static void log_library(const char *name)
{
    Dl_info where;
    const size_t version = functions.get_version();

    if (dladdr(*(void **)&functions.get_version, &where))
        name = where.dli_fname;
    host_log(TN_LOG_INFO, "cuBLASLt %zu.%zu.%zu from %s", version / 10000, version % 10000 / 100, version % 100, name);
}

static tn_status open_library(tn_error *err)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    const char *name = options_cublaslt_library();
    void *opened = name ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : NULL;

    for (size_t i = 0; !opened && !options_cublaslt_library() && i < sizeof names / sizeof *names; i++)
        opened = dlopen(name = names[i], RTLD_NOW | RTLD_LOCAL);
    if (!opened)
        return tn_fail(err, TN_E_NOT_FOUND, "%.300s; install it, or name it in [cuda_tp] cublaslt_library", dlerror());
    const char *missing = symbols_find(opened, symbols, sizeof symbols / sizeof *symbols, &functions);
    if (missing) {
        dlclose(opened);
        return tn_fail(err, TN_E_NOT_FOUND, "%.200s has no %s: it is no cuBLASLt of CUDA 12 or 13", name, missing);
    }
    library = opened;
    log_library(name);
    return TN_OK;
}

tn_status cublaslt_library_get(const cublaslt_library **ret, tn_error *err)
{
    pthread_mutex_lock(&lock);
    tn_status status = library ? TN_OK : open_library(err);
    pthread_mutex_unlock(&lock);
    *ret = &functions;
    return status;
}
