/* runtime/instance/likeness.h: what a process runs, as text that is equal exactly where processes can run it together.
 */
#ifndef INSTANCE_LIKENESS_H
#define INSTANCE_LIKENESS_H

#include "instance/instance.h"

/* Lines "what: value": program, plugins, graph, encodings, checkpoint, limits. Of the checkpoint's tensors everything
 * but most of their bytes is covered: three short pieces of each tell apart models of the same shape. *ret_text: owned
 * by the caller. After instance_make_plan. [ctl] */
tn_status likeness_text(const instance *instance, char **ret_text, tn_error *err);

#endif
