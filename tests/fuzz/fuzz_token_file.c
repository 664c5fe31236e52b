/* fuzz_token_file.c: the input is a token file. What it takes, it writes and reads again without a change. */
#include "auth/token.h"

#include <string.h>

static void check_round_trip(const token *token)
{
    char line[TOKEN_LINE_BYTES];
    token_list again = {0};
    size_t bytes = token_format(token, line);

    TN_ASSERT(token_list_parse("line", line, bytes, &again, NULL) == TN_OK && again.count == 1);
    TN_ASSERT(strcmp(again.at[0].name, token->name) == 0 && again.at[0].scopes == token->scopes);
    TN_ASSERT(again.at[0].created == token->created && again.at[0].expires == token->expires);
    TN_ASSERT(digest_equal(&again.at[0].digest, &token->digest));
    token_list_finish(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    token_list list = {0};
    tn_error err = TN_ERROR_INIT;
    tn_status status = token_list_parse("input", (const char *)bytes, n, &list, &err);

    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    for (uint32_t i = 0; i < list.count; i++) {
        TN_ASSERT(list.at[i].scopes != 0);
        check_round_trip(&list.at[i]);
    }
    token_list_find(&list, (const char *)bytes, n, 0);
    token_list_finish(&list);
    return 0;
}
