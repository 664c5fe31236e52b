/* call.c: see call.h. */
#include "client/call.h"

tn_status client_call(request_window *window, client_request request, client_waiter *wait, void *context,
                      bool wants_text, client_answer *ret_answer, tn_error *err)
{
    client_reply reply;
    uint32_t slot;

    TN_ASSERT(request_window_outstanding(window) == 0);
    request_window_add(window, request);
    while (!request_window_take(window, &slot, &reply)) {
        if (!wait(context, request_window_fd(window), request_window_timeout_ms(window))) {
            request_window_clear(window);
            return tn_fail(err, TN_E_CANCELLED, "interrupted");
        }
        request_window_step(window);
    }
    client_answer_read(&reply, wants_text, NULL, ret_answer);
    return TN_OK;
}
