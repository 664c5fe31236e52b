/* fuzz_node_list.c: the input is the value of SLURM_STEP_NODELIST. */
#include "group/node_list.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    tn_error err = TN_ERROR_INIT;
    node_list list;
    char *text = malloc(n + 1);
    TN_ASSERT(text);
    memcpy(text, bytes, n);
    text[n] = 0;
    tn_status status = node_list_parse("NODES", text, &list, &err);
    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    free(text);
    if (status != TN_OK)
        return 0;
    TN_ASSERT(list.count >= 1 && list.count <= NODE_LIST_MAX);
    for (uint32_t i = 0; i < list.count; i++)
        TN_ASSERT(*list.name[i] && strlen(list.name[i]) <= NODE_NAME_MAX);
    node_list_finish(&list);
    return 0;
}
