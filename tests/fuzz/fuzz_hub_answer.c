/* fuzz_hub_answer.c: the input is what a hub answers; files are then chosen as `tenon registry pull` does. */
#include "hub/hub_answer.h"

#include <string.h>

static void choose(const uint8_t *bytes, size_t n, const file_choice *choice)
{
    hub_answer answer;
    uint64_t total = 0;
    tn_error err = TN_ERROR_INIT;
    tn_status status = hub_answer_parse("input", (const char *)bytes, n, &answer, &err);

    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    if (status != TN_OK)
        return;
    TN_ASSERT(is_hex(answer.commit, GIT_HEX));
    status = hub_answer_choose(&answer, "input", choice, &err);
    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    for (uint32_t i = 0; status == TN_OK && i < answer.count; i++) {
        const hub_file *file = &answer.files[i];
        TN_ASSERT(file_name_check("input", file->name, NULL) == TN_OK && !is_hidden_name(file->name));
        TN_ASSERT(is_hex(file->sha256, DIGEST_HEX) || is_hex(file->git, GIT_HEX));
        total += file->bytes;
    }
    TN_ASSERT(status != TN_OK || (total == answer.bytes && total <= INT64_MAX));
    hub_answer_finish(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const patterns[] = {"*.bin", "x*"};
    const file_choice everything = {0}, some = {.exclude = patterns, .exclude_count = 2};

    choose(bytes, n, &everything);
    choose(bytes, n, &some);
    return 0;
}
