/* fuzz_http_body.c: any bytes as a request body. The first byte picks the route: c(hat), t(ext), k (tokenize),
 * d(etokenize).
 *
 * A body that is accepted is played to its end with made-up events; answers, streams and errors must be JSON.
 */
#include "../unit/http/body_player.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    byte_buffer out = {0};
    api_error error = {0};

    if (size == 0 || !strchr("ctkd", data[0]) || !data[0])
        return 0;
    if (body_play((char)data[0], (const char *)data + 1, size - 1, &out, &error) != TN_OK) {
        TN_ASSERT(error.http_status >= 400 && error.message[0]);
        byte_buffer_clear(&out);
        api_error_write(&error, &out);
        body_expect_json(out.bytes, out.count);
    }
    byte_buffer_finish(&out);
    return 0;
}
