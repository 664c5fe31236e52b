/* operations_route.c: what calls with ?wait=0 have begun. */
#include "admin/route.h"

answer admin_list_operations(request *request)
{
    return answer_json(200, json_pack("{s:o}", "operations", operations_json(request->admin->operations)));
}

answer admin_show_operation(request *request)
{
    double wait_s = 0;
    tn_error err = TN_ERROR_INIT;

    if (query_number(&request->query, "wait", REQUEST_WAIT_SECONDS_MAX, &wait_s, &err) != TN_OK)
        return answer_failure(TN_E_ARGUMENT, "wait", &err);
    json_t *operation = operation_json(request->admin->operations, request->part[0], (uint32_t)(wait_s * 1000));
    return operation ? answer_json(200, operation)
                     : answer_error(404, NULL,
                                    "there is no operation %.80s; only the newest %d are kept, until the "
                                    "daemon ends",
                                    request->part[0], OPERATIONS_MAX);
}
