/* list.c: see list.h. */
#include "admin/list.h"

bool list_limit(const request *request, int max, size_t *limit, answer *ret_answer)
{
    double asked = (double)*limit;
    tn_error err = TN_ERROR_INIT;
    tn_status status = query_number(&request->query, "limit", max, &asked, &err);

    if (status == TN_OK && (asked < 1 || asked != (double)(size_t)asked))
        status = tn_fail(&err, TN_E_ARGUMENT, "'limit' must be a whole number from 1 to %d", max);
    if (status != TN_OK) {
        *ret_answer = answer_failure(status, "limit", &err);
        return false;
    }
    *limit = (size_t)asked;
    return true;
}

answer list_answer(json_t *data, bool more)
{
    const size_t count = json_array_size(data);
    json_t *first = json_object_get(json_array_get(data, 0), "id");
    json_t *last = count ? json_object_get(json_array_get(data, count - 1), "id") : NULL;

    return answer_json(200, json_pack("{s:s, s:o, s:O?, s:O?, s:b}", "object", "list", "data", data, "first_id", first,
                                      "last_id", last, "has_more", more));
}
