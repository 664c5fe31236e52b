/* fuzz_jinja.c: the input is a chat template, rendered with a request that has all fields; or, after a first zero byte,
 * the request for the template before it. */
#include "chat/chat_template.h"

#include <string.h>

static const char plain_request[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"You.\"}, {\"role\": \"user\", \"content\": \" h\\u00e9 \"},"
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\":"
    "{\"a\": 1, \"b\": [1.5, true]}}}]}], \"tools\": [{\"type\": \"function\"}], \"add_generation_prompt\": true,"
    "\"chat_template_kwargs\": {\"x\": [3, 1, 2], \"s\": \"a,b\\nc\"}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *zero = size ? memchr(text, 0, size) : NULL;
    size_t n_text = zero ? (size_t)(zero - text) : size;
    const char *request = zero ? zero + 1 : plain_request;
    size_t n_request = zero ? size - n_text - 1 : sizeof plain_request - 1;
    tn_error err = TN_ERROR_INIT;
    chat_template *made = NULL;
    char *got = NULL;
    uint64_t n = 0;

    tn_status status = chat_template_create(text, n_text, "<s>", "</s>", &made, &err);
    TN_ASSERT((status == TN_OK) == (made != NULL));
    if (status == TN_OK) {
        status = chat_template_render(made, request, n_request, &got, &n, &err);
        TN_ASSERT((status == TN_OK) == (got != NULL));
        TN_ASSERT(!got || got[n] == 0);
    }
    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    chat_template_destroy(made);
    free(got);
    return 0;
}
