/* sdk/client/call.h: one request, waited for: what a scalar function is. */
#ifndef CLIENT_CALL_H
#define CLIENT_CALL_H

#include "client/answer.h"

/* Waits until fd is readable or ms have passed; false: the statement has been interrupted. May leave by longjmp: the
 * caller then clears the window. */
typedef bool client_waiter(void *context, int fd, uint32_t ms);

/* Asks through a window that holds no other row. request: its body is moved in every case.
 * Errors: TN_E_CANCELLED when interrupted, the connection being closed then. */
tn_status client_call(request_window *window, client_request request, client_waiter *wait, void *context,
                      bool wants_text, client_answer *ret_answer, tn_error *err);

#endif
