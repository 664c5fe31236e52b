/* fuzz_tokenizer_spm_json.c: any bytes as tokenizer.json, for tokenizer_spm. */
#include "fuzz_tokenizer_json.c"
