/* end_tokens.c: names from llama.cpp (src/llama-vocab.cpp, "special_eog_ids"), with its two exceptions. */
#include "base/tokenizer/end_tokens.h"

#include <string.h>

static const char *const names[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>",
    "<eos>", "<turn|>", "<|tool_response>", "[e~[", "<｜end▁of▁sentence｜>", /* DeepSeek, with full-width bars */
    /* Fill-in-the-middle: padding and the start of the next file. */
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>",
    "<reponame>", "<|file_sep|>"};

/* -1 if there is none, or if merges can build it. */
static int32_t find(const vocabulary *vocab, const char *name)
{
    int32_t id = vocabulary_find(vocab, name, strlen(name));
    return id >= 0 && !(vocab->flags[id] & TOKEN_MERGED) ? id : -1;
}

static bool ends(const vocabulary *vocab, const char *name)
{
    int32_t id = find(vocab, name);
    return id >= 0 && (vocab->flags[id] & TOKEN_ENDS);
}

static void unmark(vocabulary *vocab, const char *name)
{
    int32_t id = find(vocab, name);
    if (id >= 0)
        vocab->flags[id] &= (uint8_t)~TOKEN_ENDS;
}

void end_tokens_mark(vocabulary *vocab, bool specials_only)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int32_t id = find(vocab, names[i]);
        if (id >= 0 && (!specials_only || (vocab->flags[id] & TOKEN_SPECIAL)))
            vocab->flags[id] |= TOKEN_ENDS;
    }
    /* In the harmony and solar formats <|end|> closes a message within an answer. */
    if ((ends(vocab, "<|return|>") && ends(vocab, "<|call|>")) ||
        (ends(vocab, "<|flush|>") && ends(vocab, "<|calls|>")))
        unmark(vocab, "<|end|>");
    if (ends(vocab, "<|tool_response>"))
        unmark(vocab, "</s>"); /* HTML there */
}
