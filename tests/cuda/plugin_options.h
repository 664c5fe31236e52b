/* tests/cuda/plugin_options.h: settings of section [cuda_tp], for tests that are linked with the host half. */
#ifndef TESTS_PLUGIN_OPTIONS_H
#define TESTS_PLUGIN_OPTIONS_H

#include "tenon/plugin.h"

/* Reads the settings with `key` = `value` and no other. value is borrowed for good. */
tn_status plugin_option_set(const char *key, const char *value, tn_error *err);

#endif
