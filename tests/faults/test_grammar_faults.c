/* test_grammar_faults.c: compiling grammars and making the tree of tokens while memory runs out, at every allocation.
 */
#include "fail_nth.h"
#include "unit/cmocka_test.h"

#include "grammar/matcher.h"

#include <string.h>

static uint32_t kind;
static const char *text;

static tn_status compile(tn_error *err)
{
    grammar *grammar = NULL;
    tn_status status = grammar_compile(kind, text, strlen(text), &grammar, err);
    grammar_release(grammar);
    return status;
}

static void test_grammars_survive_every_failing_allocation(void **state)
{
    (void)state;
    kind = TN_GRAMMAR_JSON_SCHEMA;
    text = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^[^x]+y\",\"maxLength\":5},"
           "\"b\":{\"type\":\"number\",\"minimum\":0,\"maximum\":9.5},\"c\":{\"anyOf\":[{\"$ref\":\"#\"},{\"enum\":[1,"
           "\"two\"]}]}},"
           "\"required\":[\"b\"],\"additionalProperties\":{\"type\":\"null\"}}";
    assert_true(fail_every_allocation(compile, false) > 60);
    kind = TN_GRAMMAR_CHOICE;
    text = "[\"yes\",\"no\"]";
    assert_true(fail_every_allocation(compile, false) > 10);
}

static tn_status piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes, uint64_t *n_bytes,
                       tn_error *err)
{
    (void)tok, (void)flags, (void)first, (void)err;
    *n_bytes = 1;
    *bytes = (char)id;
    return TN_OK;
}

static uint32_t attributes(const tn_tok *tok, int32_t id)
{
    (void)tok, (void)id;
    return 0;
}

static tn_status make_trie(tn_error *err)
{
    const tn_tokenizer_table table = {.struct_size = sizeof table, .piece = piece, .attributes = attributes};
    token_trie *trie = NULL;
    tn_status status = token_trie_create(&table, NULL, 256, &trie, err);
    token_trie_destroy(trie);
    return status;
}

static void test_token_tries_survive_every_failing_allocation(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(make_trie, true) >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammars_survive_every_failing_allocation),
        cmocka_unit_test(test_token_tries_survive_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
