/* tests/reference/over_libraries.c: see over_libraries.h. */
#include "over_libraries.h"

#include "host_device.h"
#include "plugin_options.h"
#include "unit/cmocka_test.h"

#include <dlfcn.h>

const fake_nccl_control *fake_nccl;
const fake_cublaslt_control *fake_cublaslt;

static const void *controls_of(const char *path, const char *name)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const void *controls = library ? dlsym(library, name) : NULL;

    assert_non_null(controls);
    return controls;
}

void over_libraries_begin(void)
{
    tn_error err = TN_ERROR_INIT;

    host_device_use_libraries();
    host_device_connect(1);
    assert_int_equal(plugin_option_set("nccl_library", FAKE_NCCL, &err), TN_OK);
    assert_int_equal(plugin_option_set("one_shot_bytes", OVER_LIBRARIES_ONE_SHOT, &err), TN_OK);
    assert_int_equal(plugin_option_set("cublaslt_library", FAKE_CUBLASLT, &err), TN_OK);
    fake_nccl = controls_of(FAKE_NCCL, "fake_nccl_controls");
    fake_cublaslt = controls_of(FAKE_CUBLASLT, "fake_cublaslt_controls");
}
