/* sdk/base/tokenizer/white_space.h: Unicode's White_Space property. */
#ifndef BASE_TOKENIZER_WHITE_SPACE_H
#define BASE_TOKENIZER_WHITE_SPACE_H

#include <stdbool.h>
#include <stdint.h>
#include <utf8proc.h>

static inline bool is_white_space(uint32_t codepoint)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)codepoint);
    return (codepoint >= 9 && codepoint <= 13) || codepoint == 0x85 || category == UTF8PROC_CATEGORY_ZS ||
           category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

#endif
