/* runtime/target/kubernetes/yaml_writer.h: JSON values as YAML documents, for people and for whatever applies
 * manifests.
 *
 * What a reader of YAML 1.1 or 1.2 finds is what the JSON held, whatever the strings look like: `no`, `1e3` and `- x`
 * stay strings. Members keep their order, texts of several lines are literal blocks, nothing is folded.
 */
#ifndef KUBERNETES_YAML_WRITER_H
#define KUBERNETES_YAML_WRITER_H

#include "tenon/error.h"

#include <jansson.h>

/* Each element of an array as a document of its own. *ret_text is owned by the caller (free). TN_E_MEMORY. */
tn_status yaml_write_documents(const json_t *documents, char **ret_text, tn_error *err);

#endif
