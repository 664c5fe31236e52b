/* sdk/base/tokenizer/normal_form.h: Unicode normalisation forms, in time linear in the text whatever marks it piles up.
 */
#ifndef BASE_TOKENIZER_NORMAL_FORM_H
#define BASE_TOKENIZER_NORMAL_FORM_H

#include "tenon/error.h"

typedef enum normal_form { NORMAL_FORM_NONE, NORMAL_FORM_C, NORMAL_FORM_D, NORMAL_FORM_KC, NORMAL_FORM_KD } normal_form;

/* Scratch and result; reused from text to text. Zeroed is empty. */
typedef struct normalized {
    char *text; /* [n] the result, owned by this struct */
    size_t n;
    int32_t *codepoint; /* [codepoint_capacity] */
    size_t codepoint_capacity;
} normalized;

/* Normalises n bytes of valid UTF-8. *ret_text, *ret_n: the input itself if nothing changes (ASCII), else `scratch`'s.
 * TN_E_MEMORY. */
tn_status normal_form_apply(normal_form form, const char *text, size_t n, normalized *scratch, const char **ret_text,
                            size_t *ret_n, tn_error *err);
void normalized_finish(normalized *scratch);

#endif
