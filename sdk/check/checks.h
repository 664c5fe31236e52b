/* sdk/check/checks.h: the groups of checks that tenon-check runs, each on a plugin that the loader has accepted. */
#ifndef CHECK_CHECKS_H
#define CHECK_CHECKS_H

#include "check/report.h"
#include "plugin/loader.h"

/* The shared object, its descriptor and its options. */
void check_object(report *report, const plugin *plugin, bool is_backend);
void check_descriptor(report *report, const plugin *plugin);
/* Tables that read checkpoints: an empty one is not theirs, and nothing can be closed. */
void check_quant(report *report, const tn_quant_table *table);
void check_tokenizer(report *report, const tn_tokenizer_table *table);
void check_frontend(report *report, const tn_frontend_table *table);
/* Single-op kernels, as the plugin filled them in. */
void check_ops(report *report, const tn_ops_table *table);
/* [probe] members of a backend, then a small model on its first device, compared with the reference interpreter. */
void check_backend_probe(report *report, const tn_backend *table);
void check_backend_run(report *report, const tn_backend *table);

#endif
