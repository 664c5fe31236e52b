/* runtime/hub/hub_answer.h: what a hub says of a revision: the commit, and its files with sizes and hashes. Hostile
 * until it is parsed.
 *
 * Source: Hugging Face's API, GET /api/models/ID/revision/REV?blobs=true: {"sha", "siblings": [{"rfilename", "size",
 * "blobId", "lfs": {"sha256", "size"}}]}. A file with lfs is known by its SHA-256, another by Git's blob hash.
 */
#ifndef HUB_HUB_ANSWER_H
#define HUB_HUB_ANSWER_H

#include "registry/registry.h"

enum { HUB_ANSWER_BYTES_MAX = 32 << 20 };

typedef struct hub_file {
    const char *name; /* borrowed from json */
    uint64_t bytes;
    char sha256[DIGEST_HEX + 1]; /* "": known by git */
    char git[GIT_HEX + 1];
} hub_file;

typedef struct hub_answer {
    json_t *json; /* owned */
    char commit[GIT_HEX + 1];
    hub_file *files; /* owned */
    uint32_t count;
    uint64_t bytes; /* of all files */
} hub_answer;

/* where begins messages. Names are not checked yet, since those that are left out may be anything. */
tn_status hub_answer_parse(const char *where, const char *text, size_t bytes, hub_answer *ret_answer, tn_error *err);
/* Keeps the files that the choice wants and that are not hidden; their names are checked. */
tn_status hub_answer_choose(hub_answer *answer, const char *where, const file_choice *choice, tn_error *err);
void hub_answer_finish(hub_answer *answer); /* a zeroed one is fine */

#endif
