/* fuzz_tokenizer_spm_gguf.c: any bytes as a GGUF file, for what tokenizer_spm reads in it. */
#include "fuzz_tokenizer_gguf.c"
