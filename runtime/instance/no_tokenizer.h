/* runtime/instance/no_tokenizer.h: stands in for the tokenizer of a model that has none (model.load_format=dummy with
 * nothing but a config.json): requests of token ids run, their answers have ids but no text.
 */
#ifndef INSTANCE_NO_TOKENIZER_H
#define INSTANCE_NO_TOKENIZER_H

#include "tenon/tokenizer.h"

/* An empty vocabulary. Encoding text fails and says what is missing; tn_tok is NULL. */
extern const tn_tokenizer_table no_tokenizer_table;

#endif
