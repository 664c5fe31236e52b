/* sdk/base/tokenizer/end_tokens.h: marks the tokens that end a generation by their well-known names, as llama.cpp does.
 */
#ifndef BASE_TOKENIZER_END_TOKENS_H
#define BASE_TOKENIZER_END_TOKENS_H

#include "base/tokenizer/vocabulary.h"

/* Sets TOKEN_ENDS on tokens named like an end of turn, text or message. A token that merges can build is ordinary text,
 * whatever its name; with specials_only one that is matched in every text is, too. Call after flags and merges are complete. */
void end_tokens_mark(vocabulary *vocab, bool specials_only);

#endif
