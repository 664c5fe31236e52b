/* runtime/group/node_list.h: Slurm's short form of many host names, written out: "gpu[01-03,7],login" is gpu01, gpu02,
 * gpu03, gpu7, login.
 *
 * A name may hold several brackets ("rack[1-2]n[0-3]"), the last of which counts fastest. The text is foreign: lengths
 * and counts are bounded.
 */
#ifndef GROUP_NODE_LIST_H
#define GROUP_NODE_LIST_H

#include "tenon/error.h"

enum { NODE_LIST_MAX = 4096, NODE_NAME_MAX = 255, NODE_BRACKETS_MAX = 5 };

typedef struct node_list {
    char (*name)[NODE_NAME_MAX + 1]; /* [count], owned */
    uint32_t count, capacity;
} node_list;

/* text: terminated. what: the variable it is from, for messages. Call node_list_finish if it succeeded. [any] */
tn_status node_list_parse(const char *what, const char *text, node_list *ret_list, tn_error *err);
void node_list_finish(node_list *list);

#endif
