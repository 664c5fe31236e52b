/* test_grammar_tokens.c: grammars over SentencePiece vocabularies: pieces with leading spaces, characters in several
 * bytes, byte fallback. What is drawn from the masks, decoded as the engine decodes it, is a document of the grammar.
 */
#include "unit/cmocka_test.h"

#include "grammar/matcher.h"
#include "tokenizer.h"

#include <glob.h>
#include <jansson.h>
#include <string.h>

typedef struct file {
    const char *key; /* the name under which a checkpoint directory has it */
    char *bytes;
    size_t n;
} file;

static tn_status file_meta(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    const file *f = source->ctx;
    if (strcmp(key, f->key) != 0)
        return TN_E_NOT_FOUND;
    *ret_meta = (tn_meta){.struct_size = sizeof *ret_meta, .kind = TN_META_STRING, .count = f->n, .string = f->bytes};
    return TN_OK;
}

static tn_tok *open_tokenizer(const char *path)
{
    bool json = strcmp(path + strlen(path) - 5, ".json") == 0;
    file f = {.key = json ? "tokenizer.json" : "tokenizer.model"};
    tn_source source = {
        .struct_size = sizeof source, .ctx = &f, .container = "safetensors", .path = "golden", .meta = file_meta};
    FILE *from = fopen(path, "rb");
    tn_tok *tok = NULL;

    assert_non_null(from);
    fseek(from, 0, SEEK_END);
    f.n = (size_t)ftell(from);
    rewind(from);
    f.bytes = calloc(1, f.n + 1);
    assert_int_equal(fread(f.bytes, 1, f.n, from), f.n);
    fclose(from);
    assert_int_equal(tokenizer_table.open(&source, &tok, NULL), TN_OK);
    free(f.bytes);
    return tok;
}

/* Whether every byte that a document may hold is a token of its own. */
static bool spells_all(const token_trie *trie)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < trie->node_count; i = trie->node[i].skip)
        found += trie->node[i].token_count > 0 && trie->node[i].byte >= ' ' && trie->node[i].byte < 0xf5;
    return found >= 0xf5 - ' ' - 3; /* 0x7f, 0xc0 and 0xc1 do without */
}

static void walk(const tn_tok *tok, const token_trie *trie, const grammar *grammar, uint32_t vocab, uint32_t dice)
{
    static matcher matcher;
    uint32_t words = vocab / 32 + 1, *mask = calloc(words, sizeof *mask);
    grammar_state state, whole;
    char text[8192];
    size_t n = 0;

    assert_non_null(mask);
    matcher_start(&matcher, grammar, &state);
    while (state.count > 0) {
        uint64_t room = sizeof text - n;
        matcher_mask(&matcher, grammar, &state, trie, mask, words);
        uint32_t token = (dice = dice * 1664525u + 1013904223u) % vocab, tried = 0;
        while (!(mask[token / 32] >> (token % 32) & 1)) {
            token = (token + 1) % vocab;
            assert_true(tried++ < vocab);
        }
        assert_int_equal(tokenizer_table.attributes(tok, (int32_t)token) & TN_TOKEN_IS_SPECIAL, 0);
        assert_int_equal(tokenizer_table.piece(tok, (int32_t)token, 0, 0, text + n, &room, NULL), TN_OK);
        assert_true(matcher_advance(&matcher, grammar, &state, text + n, room));
        n += room;
    }
    matcher_start(&matcher, grammar, &whole);
    assert_true(matcher_advance(&matcher, grammar, &whole, text, n) && whole.accepts);
    json_t *value = json_loadb(text, n, 0, NULL);
    assert_non_null(value);
    json_decref(value);
    free(mask);
}

static void test_documents_over_pieces(void **state)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":20},\"n\":{\"type\":"
        "[\"number\",\"null\"]},\"list\":{\"type\":\"array\",\"items\":{\"enum\":[\"a b\",\"\xc3\xa9t\xc3\xa9\",7,"
        "{\"k\":true}]},\"maxItems\":5}},\"required\":[\"name\",\"n\",\"list\"],\"additionalProperties\":false}";
    static const char *const patterns[] = {GOLDEN_DIR "/spm/*.model", GOLDEN_DIR "/spm/*.json"};
    uint32_t whole = 0;
    grammar *grammar;

    (void)state;
    assert_int_equal(grammar_compile(TN_GRAMMAR_JSON_SCHEMA, schema, sizeof schema - 1, &grammar, NULL), TN_OK);
    for (size_t p = 0; p < 2; p++) {
        glob_t found;
        assert_int_equal(glob(patterns[p], 0, NULL, &found), 0);
        for (size_t i = 0; i < found.gl_pathc; i++) {
            tn_tok *tok = open_tokenizer(found.gl_pathv[i]);
            uint32_t vocab = tokenizer_table.vocab_size(tok);
            token_trie *trie;
            assert_int_equal(token_trie_create(&tokenizer_table, tok, vocab, &trie, NULL), TN_OK);
            bool complete = spells_all(trie);
            for (uint32_t dice = 1; complete && dice <= 20; dice++)
                walk(tok, trie, grammar, vocab, dice);
            whole += complete;
            token_trie_destroy(trie);
            tokenizer_table.close(tok);
        }
        globfree(&found);
    }
    grammar_release(grammar);
    assert_int_equal(whole, WHOLE_VOCABULARIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents_over_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
