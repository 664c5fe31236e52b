/* pre_tokenizer_names.c: the splits behind the names in tokenizer.ggml.pre.
 *
 * Names and patterns are those of llama.cpp (src/llama-vocab.cpp, llm_tokenizer_bpe). Where llama.cpp adapted a pattern
 * to its own engine (spelt-out case folding, [^a-z] for upper-case letters), the pattern of the model's tokenizer.json
 * stands here instead; \s+$ has a guard that keeps it linear on long runs of spaces and matches the same.
 */
#include "pre_tokenizer.h"

#include "base/edit_distance.h"

#include <string.h>

#define GPT2         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES       "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CL100K_TAIL  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES
/* digits: how many make a word. */
#define CL100K(digits) CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits CL100K_TAIL
#define UPPER          "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER          "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K(contractions, digits)                                                                     \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" contractions "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER \
    "*" contractions "|\\p{N}" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
#define CJK   "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
#define CASED_LETTERS                                                                                                  \
    "[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}"  \
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"     \
    "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}"       \
    "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}"                  \
    "\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}"                  \
    "\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}" \
    "\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}"                  \
    "\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}" \
    "\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}" \
    "\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}" \
    "\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}"                  \
    "\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}"                \
    "\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"        \
    "\\x{1e900}-\\x{1e943}]+"
#define FULL_WIDTH_PUNCTUATION "[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+"

static const char *const pre_default[] = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]", NULL};
static const char *const pre_gpt2[] = {GPT2, NULL};
static const char *const pre_digits_gpt2[] = {"\\p{N}", GPT2, NULL};
static const char *const pre_falcon[] = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]", NULL};
static const char *const pre_llama3[] = {CL100K("{1,3}"), NULL};
static const char *const pre_qwen2[] = {CL100K(""), NULL};
static const char *const pre_qwen35[] = {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                                                      "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES,
                                         NULL};
static const char *const pre_seed_coder[] = {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}"
                                                          "| ?[^\\s\\p{L}\\p{N}\\r\\n]+" SPACES,
                                             NULL};
static const char *const pre_bailing[] = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}"
                                          "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
                                          NULL};
static const char *const pre_gpt4o[] = {O200K(CONTRACTIONS "?", "{1,3}"), NULL};
static const char *const pre_tekken[] = {O200K("", ""), NULL};
static const char *const pre_bloom[] = {BLOOM, NULL};
static const char *const pre_viking[] = {BLOOM, "\\p{N}", NULL};
static const char *const pre_deepseek_llm[] = {
    "[\\r\\n]", "\\s?" CASED_LETTERS, "\\s?" FULL_WIDTH_PUNCTUATION, "(?<!\\s)\\s+$", CJK, "\\p{N}+", NULL};
static const char *const pre_deepseek_coder[] = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}", NULL};
static const char *const pre_deepseek3[] = {
    "\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*" SPACES,
    NULL};

static const struct {
    const char *name;
    const char *const *patterns;
    bool ignore_merges, add_bos;
} names[] = {
    {"default", pre_default, false, false},
    {"gpt-2", pre_gpt2, false, false},
    {"phi-2", pre_gpt2, false, false},
    {"mpt", pre_gpt2, false, false},
    {"olmo", pre_gpt2, false, false},
    {"jais", pre_gpt2, false, false},
    {"trillion", pre_gpt2, false, false},
    {"granite-docling", pre_gpt2, false, false},
    {"exaone4", pre_gpt2, false, false},
    {"modern-bert", pre_gpt2, false, false},
    {"gigachat", pre_gpt2, false, false},
    {"mellum", pre_gpt2, false, false},
    {"a.x-4.0", pre_gpt2, false, false},
    {"smollm", pre_digits_gpt2, false, false},
    {"starcoder", pre_digits_gpt2, false, false},
    {"refact", pre_digits_gpt2, false, false},
    {"command-r", pre_digits_gpt2, false, false},
    {"codeshell", pre_digits_gpt2, false, false},
    {"exaone", pre_digits_gpt2, false, false},
    {"minerva-7b", pre_digits_gpt2, false, false},
    {"mellum2", pre_digits_gpt2, false, false},
    {"falcon", pre_falcon, false, false},
    {"llama-bpe", pre_llama3, true, true},
    {"llama3", pre_llama3, true, true},
    {"llama-v3", pre_llama3, true, true},
    {"falcon3", pre_llama3, true, true},
    {"falcon-h1", pre_llama3, true, true},
    {"pixtral", pre_llama3, true, true},
    {"midm-2.0", pre_llama3, true, true},
    {"lfm2", pre_llama3, true, true},
    {"dbrx", pre_llama3, false, false},
    {"smaug-bpe", pre_llama3, false, false},
    {"chatglm-bpe", pre_llama3, false, false},
    {"glm4", pre_llama3, true, false},
    {"glm5", pre_llama3, true, false},
    {"qwen2", pre_qwen2, false, false},
    {"deepseek-r1-qwen", pre_qwen2, false, false},
    {"kormo", pre_qwen2, false, false},
    {"stablelm2", pre_qwen2, false, false},
    {"megrez", pre_qwen2, false, false},
    {"hunyuan", pre_qwen2, false, false},
    {"grok-2", pre_qwen2, false, false},
    {"solar-open", pre_qwen2, false, false},
    {"qwen35", pre_qwen35, false, false},
    {"seed-coder", pre_seed_coder, false, false},
    {"bailingmoe", pre_bailing, false, false},
    {"bailingmoe2", pre_bailing, false, false},
    {"llada-moe", pre_bailing, false, false},
    {"gpt-4o", pre_gpt4o, false, false},
    {"llama4", pre_gpt4o, false, false},
    {"kanana2", pre_gpt4o, false, false},
    {"minimax-m2", pre_gpt4o, false, false},
    {"tekken", pre_tekken, true, true},
    {"bloom", pre_bloom, false, false},
    {"poro-chat", pre_bloom, false, false},
    {"gpt3-finnish", pre_bloom, false, false},
    {"viking", pre_viking, false, false},
    {"deepseek-llm", pre_deepseek_llm, false, false},
    {"deepseek-coder", pre_deepseek_coder, false, false},
    {"deepseek-v3", pre_deepseek3, false, false},
    {"hunyuan-dense", pre_deepseek3, false, false},
    {"joyai-llm", pre_deepseek3, false, false},
};
enum { NAME_COUNT = sizeof names / sizeof names[0] };

/* The message holds as many of the names as fit, the nearest one first. */
static tn_status refuse(const char *name, size_t n, tn_error *err)
{
    char wanted[64], list[320];
    const char *known[NAME_COUNT];
    size_t used = 0;
    snprintf(wanted, sizeof wanted, "%.*s", n < sizeof wanted ? (int)n : (int)sizeof wanted - 1, name);
    for (size_t i = 0; i < NAME_COUNT; i++)
        known[i] = names[i].name;
    for (size_t i = 0; i < NAME_COUNT && used + strlen(known[i]) + 6 < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, " %s", known[i]);
    snprintf(list + used, sizeof list - used, " ...");
    const char *nearest = nearest_name(wanted, known, NAME_COUNT);
    return tn_fail(err, TN_E_UNSUPPORTED, "unknown pre-tokenizer \"%s\"%s%s%s; known are%s", wanted,
                   nearest ? " (did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?)" : "", list);
}

tn_status pre_tokenizer_add_named(pre_tokenizer *pre, const char *name, size_t n, bool *ret_ignore_merges,
                                  bool *ret_add_bos, tn_error *err)
{
    size_t at = 0;
    while (at < NAME_COUNT && (strlen(names[at].name) != n || memcmp(names[at].name, name, n) != 0))
        at++;
    if (at == NAME_COUNT)
        return refuse(name, n, err);
    for (const char *const *pattern = names[at].patterns; *pattern; pattern++) {
        tn_status status =
            pre_tokenizer_add_split(pre, PRE_STEP_SPLIT, *pattern, strlen(*pattern), false, SPLIT_ISOLATED, false, err);
        if (status != TN_OK)
            return status;
    }
    *ret_ignore_merges = names[at].ignore_merges;
    *ret_add_bos = names[at].add_bos;
    return TN_OK;
}
