/* runtime/registry/bundle.h: one version as one tar file: bundle.json (what it is called), the manifest, and each
 * content once, in the manifest's order, under blobs/sha256/.
 */
#ifndef REGISTRY_BUNDLE_H
#define REGISTRY_BUNDLE_H

#include "registry/registry.h"

#define BUNDLE_NAME   "bundle.json"
#define BUNDLE_FORMAT "tenon.bundle/1"
enum { BUNDLE_HEAD_BYTES_MAX = 1 << 20, BUNDLE_PAIRS_MAX = 256 };

/* What bundle.json says; hostile until it is parsed. Strings are borrowed from json. */
typedef struct bundle_head {
    json_t *json; /* owned */
    digest manifest;
    registration registration;
    registry_pair tags[BUNDLE_PAIRS_MAX], metrics[BUNDLE_PAIRS_MAX];
} bundle_head;

/* ret_head is filled in place, since the registration points into it. */
tn_status bundle_head_parse(const char *where, const char *text, size_t bytes, bundle_head *ret_head, tn_error *err);
void bundle_head_finish(bundle_head *head);

#endif
