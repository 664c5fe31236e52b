/* fuzz_tokenizer_model.c: any bytes as SentencePiece's tokenizer.model. */
#define FUZZ_FILE "tokenizer.model"
#include "fuzz_tokenizer_json.c"
