/* tests/cuda/plugin_options.h: settings of section [cuda_tp], for tests that are linked with the host half. */
#ifndef TESTS_PLUGIN_OPTIONS_H
#define TESTS_PLUGIN_OPTIONS_H

#include "tenon/plugin.h"

/* Reads the settings again with `key` = `value` and the others unset. value is borrowed for good. */
tn_status plugin_option_set(const char *key, const char *value, tn_error *err);

#endif
