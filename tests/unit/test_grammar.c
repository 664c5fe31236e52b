/* Grammars: documents of the JSON-Schema-Test-Suite byte by byte, refusals with their words, masks that never run dry.
 */
#include "grammar/matcher.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static matcher *walker;

static tn_status compile(const char *schema, grammar **ret_grammar, tn_error *err)
{
    return grammar_compile(TN_GRAMMAR_JSON_SCHEMA, schema, strlen(schema), ret_grammar, err);
}

static bool accepts(const grammar *grammar, const char *text)
{
    grammar_state state;
    matcher_start(walker, grammar, &state);
    return matcher_advance(walker, grammar, &state, text, strlen(text)) && state.accepts;
}

/* ---- the suite ---- */

/* How much of the suite is what: fewer compiled is a loss, more means that the golden file lacks their documents. */
enum { COMPILED = 136, REFUSED = 211, DOCUMENTS = 476 };

static uint32_t check_documents(const grammar *grammar, const json_t *entry, const char *key, bool wanted)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    json_t *text;
    size_t i;

    json_array_foreach(json_object_get(entry, key), i, text)
    {
        if (accepts(grammar, json_string_value(text)) != wanted)
            fail_msg("%s: %s %s\n%s", name, json_string_value(text), wanted ? "is refused" : "is accepted",
                     json_string_value(json_object_get(entry, "schema")));
    }
    return (uint32_t)i;
}

static void test_suite_documents_are_accepted_or_refused(void **state)
{
    json_t *suite = json_load_file(GOLDEN_DIR "/json_schema_suite.json", 0, NULL), *entry;
    uint32_t compiled = 0, refused = 0, documents = 0;
    size_t i;

    (void)state;
    assert_non_null(suite);
    json_array_foreach(suite, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *schema = json_string_value(json_object_get(entry, "schema"));
        tn_error err = TN_ERROR_INIT;
        grammar *grammar;
        tn_status status = compile(schema, &grammar, &err);
        if (status != TN_OK) {
            assert_int_equal(status, TN_E_ARGUMENT);
            assert_true(strncmp(err.msg, "json_schema: ", 13) == 0 || strncmp(err.msg, "the grammar ", 12) == 0);
            refused++;
            continue;
        }
        if (!json_object_get(entry, "valid"))
            fail_msg("%s: compiles, but has no documents: %s", name, schema);
        documents += check_documents(grammar, entry, "valid", true);
        documents += check_documents(grammar, entry, "invalid", false);
        grammar_release(grammar);
        compiled++;
    }
    json_decref(suite);
    assert_int_equal(compiled, COMPILED);
    assert_int_equal(refused, REFUSED);
    assert_int_equal(documents, DOCUMENTS);
}

/* ---- masks ---- */

/* A vocabulary of all bytes, some longer tokens, and one that ends generation. */
static const char *const longer[] = {
    "{\"",  "\":",  "\": ", "\",",  "\"}",  "}}",       "]}",       "],",  "true",  "false",
    "null", "the ", "12",   ", \"", "\n  ", "\xc3\xa9", "\xa9\xc3", "a\"", "\\u00", "\xf0\x9f\x98\x80x"};
enum { LONGER = sizeof longer / sizeof *longer, END_TOKEN = 256 + LONGER, VOCAB, WORDS = (VOCAB + 31) / 32 };

static tn_status fake_piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes,
                            uint64_t *n_bytes, tn_error *err)
{
    const char *text = id >= 256 && id < END_TOKEN ? longer[id - 256] : NULL;
    uint64_t n = text ? strlen(text) : 1;

    (void)tok, (void)flags, (void)first, (void)err;
    if (*n_bytes < n)
        return TN_E_MEMORY;
    *n_bytes = n;
    if (text)
        memcpy(bytes, text, n);
    else
        bytes[0] = (char)id;
    return TN_OK;
}

static uint32_t fake_attributes(const tn_tok *tok, int32_t id)
{
    (void)tok;
    return id == END_TOKEN ? TN_TOKEN_IS_SPECIAL | TN_TOKEN_ENDS_GENERATION : 0;
}

static token_trie *make_trie(void)
{
    const tn_tokenizer_table table = {.struct_size = sizeof table, .piece = fake_piece, .attributes = fake_attributes};
    token_trie *trie;
    assert_int_equal(token_trie_create(&table, NULL, VOCAB, &trie, NULL), TN_OK);
    return trie;
}

static uint32_t roll(uint64_t *dice)
{
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*dice >> 33);
}

static bool is_allowed(const uint32_t *mask, uint32_t token)
{
    return (mask[token / 32] >> (token % 32) & 1) != 0;
}

/* What may come next, token by token. */
static void assert_mask(const grammar *grammar, const grammar_state *state, const uint32_t *mask)
{
    for (uint32_t token = 0; token < VOCAB; token++) {
        grammar_state next = *state;
        char bytes[8];
        uint64_t n = sizeof bytes;
        fake_piece(NULL, (int32_t)token, 0, 0, bytes, &n, NULL);
        bool goes_on = token != END_TOKEN && matcher_advance(walker, grammar, &next, bytes, n);
        assert_int_equal(is_allowed(mask, token), goes_on);
    }
}

/* One of the tokens allowed; late in a document rather one that closes something. */
static uint32_t choose(const uint32_t *mask, uint64_t *dice, bool late)
{
    static const char closing[] = "}]\"";
    uint32_t allowed[VOCAB], count = 0;

    for (size_t i = 0; late && i < sizeof closing - 1; i++)
        if (is_allowed(mask, (uint8_t)closing[i]) && roll(dice) % 4 > 0)
            return (uint8_t)closing[i];
    for (uint32_t token = 0; token < VOCAB; token++)
        if (is_allowed(mask, token))
            allowed[count++] = token;
    assert_true(count > 0);
    return allowed[roll(dice) % count];
}

enum { WALK_BYTES = 8192, WALK_LATE = 60 };

/* A document at random; every mask on the way has something in it, and some are looked at closely. */
static void walk(const grammar *grammar, const token_trie *trie, uint64_t *dice, char text[WALK_BYTES])
{
    uint32_t mask[WORDS];
    grammar_state state;
    size_t n = 0;

    matcher_start(walker, grammar, &state);
    for (uint32_t steps = 0; !(state.accepts && (state.count == 0 || roll(dice) % 3 == 0)); steps++) {
        uint64_t bytes = 8;
        assert_true(steps < 4000 && n + bytes < WALK_BYTES);
        matcher_mask(walker, grammar, &state, trie, mask, WORDS);
        if (steps % 16 == 0)
            assert_mask(grammar, &state, mask);
        fake_piece(NULL, (int32_t)choose(mask, dice, steps > WALK_LATE), 0, 0, text + n, &bytes, NULL);
        assert_true(matcher_advance(walker, grammar, &state, text + n, bytes));
        n += bytes;
    }
    text[n] = '\0';
}

static void test_walks_end_in_documents(void **state)
{
    json_t *suite = json_load_file(GOLDEN_DIR "/json_schema_suite.json", 0, NULL), *entry;
    token_trie *trie = make_trie();
    uint64_t dice = 7;
    size_t i;

    (void)state;
    json_array_foreach(suite, i, entry)
    {
        const char *schema = json_string_value(json_object_get(entry, "schema"));
        grammar *grammar;
        if (compile(schema, &grammar, NULL) != TN_OK)
            continue;
        for (int k = 0; k < 3; k++) {
            char text[WALK_BYTES];
            walk(grammar, trie, &dice, text);
            json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            if (!value && !strstr(text, "\\u0000"))
                fail_msg("%s\n%s", schema, text);
            json_decref(value);
            if (getenv("TENON_TEST_WALKS")) /* for a validator of somebody else's */
                printf("WALK\t%s\t%s\n", schema, text);
        }
        grammar_release(grammar);
    }
    token_trie_destroy(trie);
    json_decref(suite);
}

/* Where characters are counted each place is a state of its own, which takes as many of any kind as are left. */
static void test_runs_end_where_lengths_do(void **state)
{
    static const char schema[] = "{\"type\":\"string\",\"minLength\":2,\"maxLength\":9}";
    token_trie *trie = make_trie();
    uint32_t mask[WORDS];
    grammar_state at;
    grammar *grammar;

    (void)state;
    assert_int_equal(compile(schema, &grammar, NULL), TN_OK);
    matcher_start(walker, grammar, &at);
    assert_true(matcher_advance(walker, grammar, &at, "\"", 1));
    for (uint32_t left = 10; left-- > 0;) {
        assert_int_equal(at.count, 1);
        assert_int_equal(grammar->node[at.thread[0].node].run, left);
        matcher_mask(walker, grammar, &at, trie, mask, WORDS);
        assert_mask(grammar, &at, mask);
        assert_int_equal(matcher_advance(walker, grammar, &at, "a", 1), left > 0);
    }
    grammar_release(grammar);
    token_trie_destroy(trie);
}

/* ---- schemas of our own ---- */

static void assert_takes(const char *schema, const char *const *good, const char *const *bad)
{
    tn_error err = TN_ERROR_INIT;
    grammar *grammar;

    if (compile(schema, &grammar, &err) != TN_OK)
        fail_msg("%s: %s", schema, err.msg);
    for (; *good; good++)
        if (!accepts(grammar, *good))
            fail_msg("%s refuses %s", schema, *good);
    for (; *bad; bad++)
        if (accepts(grammar, *bad))
            fail_msg("%s accepts %s", schema, *bad);
    grammar_release(grammar);
}
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_numbers_between_bounds(void **state)
{
    (void)state;
    assert_takes("{\"type\":\"integer\",\"minimum\":-12,\"maximum\":305}", LIST("-12", "0", "-9", "305", "299", "17"),
                 LIST("-13", "306", "1000", "-100", "01", "1.0", "", "-"));
    assert_takes("{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":1.25}",
                 LIST("0.1", "1.25", "1.250", "1", "0.000000001", "1.2499"),
                 LIST("0", "0.0", "-0.5", "1.26", "2", "1.2500001", "1e-3"));
    assert_takes("{\"type\":\"number\",\"minimum\":-2.5,\"exclusiveMaximum\":-0.5}",
                 LIST("-2.5", "-0.51", "-1", "-2.49"), LIST("-2.51", "-0.5", "0", "-3", "1", "-0.4"));
    assert_takes("{\"type\":\"integer\",\"exclusiveMaximum\":0}", LIST("-1", "-999"), LIST("0", "-0", "1"));
    assert_takes("{\"type\":\"number\",\"minimum\":1e-7,\"maximum\":1e3}", LIST("0.0000001", "1000", "999.9"),
                 LIST("0.00000009", "1000.1", "0"));
    /* As a double it would be the bound. */
    assert_takes("{\"type\":\"number\",\"exclusiveMinimum\":0.1}", LIST("0.10000000000001"),
                 LIST("0.100000000000000001"));
    assert_takes("{\"type\":\"integer\",\"minimum\":1.5,\"maximum\":3.5}", LIST("2", "3"), LIST("1", "4"));
}

static void test_strings(void **state)
{
    (void)state;
    assert_takes("{\"type\":\"string\",\"minLength\":1,\"maxLength\":2}",
                 LIST("\"a\"", "\"\xc3\xa9\\n\"", "\"\\u0001\""),
                 LIST("\"\"", "\"abc\"", "\"\n\"", "\"\\u0041\"", "\"\xff\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\""));
    assert_takes("{\"type\":\"string\",\"pattern\":\"^a|b$\",\"maxLength\":3}", LIST("\"axx\"", "\"xxb\"", "\"a\""),
                 LIST("\"xax\"", "\"bx\"", "\"axxx\""));
    assert_takes("{\"type\":\"string\",\"pattern\":\"^[^\\\\d\\\"]{2}\\\\.(x|yz)+?$\"}",
                 LIST("\"ab.xyz\"", "\"\xc3\xa9 .x\""), LIST("\"a1.x\"", "\"ab.\"", "\"abxx\"", "\"a\\\".x\""));
    assert_takes("{\"type\":\"string\",\"format\":\"date-time\"}",
                 LIST("\"2024-12-31T23:59:59Z\"", "\"1999-02-28T00:00:00.5+01:30\""),
                 LIST("\"2024-13-01T00:00:00Z\"", "\"2023-02-29T00:00:00Z\"", "\"2024-01-01\""));
    assert_takes("{\"type\":\"string\",\"format\":\"ipv4\"}", LIST("\"255.0.19.1\""),
                 LIST("\"256.0.0.1\"", "\"1.2.3\""));
    assert_takes("{\"type\":\"string\",\"format\":\"email\"}", LIST("\"a.b@c-d.org\""), LIST("\"a@b\"", "\"@b.org\""));
}

static void test_objects_and_recursion(void **state)
{
    (void)state;
    assert_takes("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"const\":[1,{\"x\":\"y\"}]}},"
                 "\"required\":[\"b\"],\"additionalProperties\":{\"type\":\"boolean\"}}",
                 LIST("{\"a\":null,\"b\":[1,{\"x\":\"y\"}]}", "{\n  \"b\": [ 1, {\"x\": \"y\"}],\"ab\":true}"),
                 LIST("{\"a\":null}", "{\"b\":[1,{\"x\":\"y\"}],\"a\":true}", "{}", "{\"b\":[1,{\"x\":\"y\"}],}",
                      "{,\"b\":[1,{\"x\":\"y\"}]}"));
    assert_takes("{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}}}",
                 LIST("[]", "[[],[[]]]", "[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]"),
                 LIST("[", "[[]", "[1]",
                      "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"));
    assert_takes("{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":1},\"v\":{\"type\":\"null\"}},"
                 "\"required\":[\"k\",\"v\"]},"
                 "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":2},\"v\":{\"type\":\"string\"}},\"required\":["
                 "\"k\",\"v\"]}]}",
                 LIST("{\"k\":1,\"v\":null}", "{\"k\":2,\"v\":\"\"}"), LIST("{\"k\":1,\"v\":\"\"}", "{\"k\":2}"));
}

/* A default keeps a property out of `required`, as Pydantic writes it: what tells branches apart must be there still.
 */
static void test_discriminators_are_required(void **state)
{
    (void)state;
    assert_takes(
        "{\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"a\",\"default\":\"a\",\"type\":"
        "\"string\"},\"n\":{\"type\":\"integer\"}},\"additionalProperties\":false},\"b\":{\"type\":\"object\","
        "\"properties\":{"
        "\"kind\":{\"const\":\"b\",\"default\":\"b\",\"type\":\"string\"}},\"additionalProperties\":false}},"
        "\"discriminator\":{"
        "\"mapping\":{\"a\":\"#/$defs/a\",\"b\":\"#/$defs/b\"},\"propertyName\":\"kind\"},\"oneOf\":[{\"$ref\":\"#/"
        "$defs/a\"},"
        "{\"$ref\":\"#/$defs/b\"}]}",
        LIST("{\"kind\":\"a\",\"n\":1}", "{\"kind\":\"a\"}", "{\"kind\":\"b\"}"),
        LIST("{}", "{\"n\":1}", "{\"kind\":\"b\",\"n\":1}", "{\"kind\":\"c\"}"));
}

static void test_lists_of_items(void **state)
{
    (void)state;
    assert_takes(
        "{\"type\":\"array\",\"minItems\":2,\"maxItems\":2,\"items\":[{\"type\":\"boolean\"},{\"type\":\"null\"}]}",
        LIST("[true,null]"), LIST("[true]", "[null,null]", "[true,null,1]"));
    assert_takes("{\"type\":\"array\",\"items\":[{\"type\":\"null\"}],\"additionalItems\":{\"type\":\"integer\"}}",
                 LIST("[]", "[null,1,2]"), LIST("[1]", "[null,null]"));
    assert_takes("{\"type\":\"array\",\"items\":[{\"type\":\"null\"}],\"additionalItems\":false}", LIST("[null]"),
                 LIST("[null,1]"));
}

static void test_bounds_choose_among_values(void **state)
{
    (void)state;
    assert_takes("{\"type\":\"integer\",\"enum\":[1,2,3,4],\"exclusiveMinimum\":1,\"maximum\":3}", LIST("2", "3"),
                 LIST("1", "4"));
    assert_takes("{\"enum\":[\"\xc3\xa9\",\"ab\",\"abc\",7],\"minLength\":2,\"maxLength\":2}", LIST("\"ab\"", "7"),
                 LIST("\"\xc3\xa9\"", "\"abc\""));
}

/* As Pydantic writes a decimal, and zod an address. */
static void test_look_ahead_behind_the_beginning(void **state)
{
    (void)state;
    assert_takes("{\"type\":\"string\",\"pattern\":\"^(?!^[-+.]*$)[+-]?0*\\\\d*\\\\.?\\\\d*$\"}",
                 LIST("\"1.5\"", "\"-0.5\"", "\"7\"", "\".5\""), LIST("\"\"", "\"-\"", "\".\"", "\"-.\"", "\"a\""));
    assert_takes(
        "{\"type\":\"string\",\"pattern\":\"^(?!\\\\.)(?!.*\\\\.\\\\.)([A-Za-z0-9_'+\\\\-\\\\.]*)[A-Za-z0-9_+-]@"
        "([A-Za-z0-9][A-Za-z0-9\\\\-]*\\\\.)+[A-Za-z]{2,}$\"}",
        LIST("\"a.b@c.de\"", "\"a+b@c-d.e.fg\""), LIST("\".a@c.de\"", "\"a..b@c.de\"", "\"a@c..de\"", "\"a.@c.de\""));
    assert_takes("{\"type\":\"string\",\"pattern\":\"^(?!ab|c$)[a-c]\"}", LIST("\"a\"", "\"ca\"", "\"b\\\\\""),
                 LIST("\"ab\"", "\"abc\"", "\"c\"", "\"d\""));
}

static void test_formats_of_tools(void **state)
{
    (void)state;
    assert_takes("{\"type\":\"string\",\"format\":\"uuid4\",\"example\":\"\"}",
                 LIST("\"01234567-89ab-4def-8123-456789abcdef\""), LIST("\"01234567-89ab-1def-8123-456789abcdef\""));
    assert_takes("{\"type\":\"string\",\"format\":\"password\"}", LIST("\"\"", "\"a\\n\\u0000\xc3\xa9\""), LIST("1"));
    assert_takes("{\"type\":\"string\",\"format\":\"path\"}", LIST("\"/a b\""), LIST("\"\"", "\"\\u0000\""));
}

static void test_strict_closes_objects(void **state)
{
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\"}}}";
    grammar *open, *strict;

    (void)state;
    assert_int_equal(grammar_compile(TN_GRAMMAR_JSON_SCHEMA, schema, sizeof schema - 1, &open, NULL), TN_OK);
    assert_int_equal(grammar_compile(TN_GRAMMAR_JSON_SCHEMA_STRICT, schema, sizeof schema - 1, &strict, NULL), TN_OK);
    assert_true(accepts(open, "{\"b\":1}") && !accepts(strict, "{\"b\":1}"));
    assert_true(accepts(strict, "{\"a\":{\"anything\":[1]}}")); /* names nothing: open */
    grammar_release(open);
    grammar_release(strict);
}

static void test_choices_and_expressions(void **state)
{
    grammar *grammar;

    (void)state;
    assert_int_equal(grammar_compile(TN_GRAMMAR_CHOICE, "[\"yes\",\"yesterday\",\"\xc3\xa9\"]", 24, &grammar, NULL),
                     TN_OK);
    assert_true(accepts(grammar, "yes") && accepts(grammar, "yesterday") && accepts(grammar, "\xc3\xa9"));
    assert_false(accepts(grammar, "yest") || accepts(grammar, ""));
    grammar_release(grammar);
    assert_int_equal(grammar_compile(TN_GRAMMAR_REGEX, "^(a|b){2}\\n[\\]x-]$", 17, &grammar, NULL), TN_OK);
    assert_true(accepts(grammar, "ab\n]") && accepts(grammar, "bb\n-") && !accepts(grammar, "xab\n]"));
    grammar_release(grammar);
}

static void test_a_grammar_of_the_empty_text_alone_is_refused(void **state)
{
    static const char *const regex[] = {"", "a{0}", "^$", "(?:)|()"};

    (void)state;
    for (size_t i = 0; i < sizeof regex / sizeof *regex; i++) {
        tn_error err = TN_ERROR_INIT;
        grammar *grammar;
        assert_int_equal(grammar_compile(TN_GRAMMAR_REGEX, regex[i], strlen(regex[i]), &grammar, &err), TN_E_ARGUMENT);
        assert_string_equal(err.msg, "the grammar allows no text but the empty one");
    }
}

static void test_refusals_name_keyword_and_place(void **state)
{
    static const struct {
        const char *schema, *says;
    } refusal[] = {
        {"{", "is not JSON"},
        {"[]", "must be an object"},
        {"{\"properties\":{\"a\":{\"not\":{}}}}", "#/properties/a/not: this keyword is not supported"},
        {"{\"anyOf\":[{\"type\":\"strnig\"}]}", "#/anyOf/0/type: 'strnig' is no type"},
        {"{\"items\":[1]}", "#/items: must be a schema, or a list of schemas"},
        {"{\"minItems\":-1}", "#/minItems: must be a count"},
        {"{\"minItems\":1.5}", "#/minItems: must be a whole number"},
        {"{\"requires\":[]}", "#/requires: unknown keyword"},
        {"{\"propertyNames\":{\"maxLength\":3}}", "#/propertyNames: only {\"type\": \"string\"} is supported"},
        {"{\"format\":\"iri\"}", "#/format: 'iri' is not supported"},
        {"{\"$ref\":\"other.json\"}", "#/$ref: 'other.json' is not supported"},
        {"{\"$ref\":\"#/$defs/a\"}", "leads to no schema"},
        {"{\"$ref\":\"#\"}", "allows no text at all"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", "allows no text at all"},
        {"{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "look-around"},
        {"{\"type\":\"string\",\"pattern\":\"a{9999}\"}", "longer than 4096"},
        {"{\"type\":\"string\",\"pattern\":\"(a\"}", "not closed"},
        {"{\"items\":{\"properties\":{\"a\":{\"pattern\":\"(a\"}}}}",
         "json_schema: #/items/properties/a/pattern: at byte 2 of the expression: "},
        {"{\"type\":\"string\",\"pattern\":\"(((a{99}){99}){99}){99}\"}", "too large"},
        {"{\"type\":\"string\",\"maxLength\":1000000}", "too large"},
        {"{\"type\":\"array\",\"minItems\":5000}", "above 1024 items"},
        {"{\"type\":\"integer\",\"maximum\":1e30}", "more than 18 digits"},
        {"{\"enum\":[\"a\"],\"pattern\":\"a\"}", "#/pattern: not supported beside enum"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof refusal / sizeof *refusal; i++) {
        tn_error err = TN_ERROR_INIT;
        grammar *grammar;
        assert_int_equal(compile(refusal[i].schema, &grammar, &err), TN_E_ARGUMENT);
        if (!strstr(err.msg, refusal[i].says))
            fail_msg("%s: %s", refusal[i].schema, err.msg);
    }
}

/* A and B hold a hundred properties each, which are A and B again: a hundred comparisons for each, level by level. */
static char *write_twins(void)
{
    char *text = malloc(GRAMMAR_TEXT_MAX), *at = text;

    assert_non_null(text);
    at += sprintf(at, "{\"oneOf\":[{\"$ref\":\"#/$defs/a\"},{\"$ref\":\"#/$defs/b\"}],\"$defs\":{");
    for (char name = 'a'; name <= 'b'; name++) {
        at += sprintf(at, "%s\"%c\":{\"type\":\"object\",\"properties\":{", name == 'a' ? "" : ",", name);
        for (int i = 0; i < 100; i++)
            at += sprintf(at, "%s\"%d\":{\"$ref\":\"#/$defs/%c\"}", i == 0 ? "" : ",", i, name);
        at += sprintf(at, "},\"required\":[");
        for (int i = 0; i < 100; i++)
            at += sprintf(at, "%s\"%d\"", i == 0 ? "" : ",", i);
        at += sprintf(at, "]}");
    }
    sprintf(at, "}}");
    return text;
}

/* Two halves of 12,000 numbers: one comparison for each pair of them. */
static char *write_halves(void)
{
    char *text = malloc(GRAMMAR_TEXT_MAX), *at = text;

    assert_non_null(text);
    at += sprintf(at, "{\"allOf\":[");
    for (int half = 0; half < 2; half++) {
        at += sprintf(at, "%s{\"enum\":[0", half == 0 ? "" : ",");
        for (int i = 1; i < 6000; i++)
            at += sprintf(at, ",%d", half == 0 ? i : -i);
        at += sprintf(at, "]}");
    }
    sprintf(at, "]}");
    return text;
}

/* One array after the other, each of 1024 places for what $defs/x is, which is worked out once for each place. */
static void write_places(char *at, int arrays, const char *reference)
{
    at += sprintf(at, "\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < arrays; i++)
        at +=
            sprintf(at, "%s\"%d\":{\"type\":\"array\",\"minItems\":1024,\"maxItems\":1024,\"items\":{\"$ref\":\"%s\"}}",
                    i == 0 ? "" : ",", i, reference);
    sprintf(at, "}}");
}

/* A schema whose definitions hold a list of `count` times `one`, and which is the same in `arrays` places. */
static char *write_list(const char *before, const char *one, int count, const char *behind, int arrays)
{
    char *text = malloc(GRAMMAR_TEXT_MAX), *at = text;

    assert_non_null(text);
    at += sprintf(at, "{\"$defs\":{%s%s", before, one);
    for (int i = 1; i < count; i++)
        at += sprintf(at, ",%s", one);
    at += sprintf(at, "%s},", behind);
    write_places(at, arrays, "#/$defs/x");
    return text;
}

/* A list of names that is checked in every place. */
static char *write_names(void)
{
    return write_list("\"x\":{\"type\":\"null\",\"required\":[", "\"\"", 15000, "]}", 40);
}

/* A reference through more than a thousand objects that is followed in every place. */
static char *write_path(void)
{
    enum { LEVELS = 1900 };
    char *text = malloc(GRAMMAR_TEXT_MAX), *at = text, reference[2 * LEVELS + 16], *end = reference;

    assert_non_null(text);
    at += sprintf(at, "{\"$defs\":");
    end += sprintf(end, "#/$defs");
    for (int i = 0; i < LEVELS; i++) {
        at += sprintf(at, "{\"x\":");
        end += sprintf(end, "/x");
    }
    at += sprintf(at, "{\"type\":\"null\"}");
    for (int i = 0; i < LEVELS; i++)
        *at++ = '}';
    *at++ = ',';
    write_places(at, 8, reference);
    return text;
}

/* A property that is required 5,000 times, behind 29 others, in 250 rules. */
static char *write_required(void)
{
    char *text = malloc(GRAMMAR_TEXT_MAX), *at = text;

    assert_non_null(text);
    at += sprintf(at, "{\"$defs\":{\"x\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (int i = 0; i < 30; i++)
        at += sprintf(at, "%s\"%02d\":{\"type\":\"null\"}", i == 0 ? "" : ",", i);
    at += sprintf(at, "},\"required\":[\"29\"");
    for (int i = 1; i < 5000; i++)
        at += sprintf(at, ",\"29\"");
    at += sprintf(at, "]}},\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (int i = 0; i < 250; i++)
        at += sprintf(at, "%s\"%d\":{\"allOf\":[{\"$ref\":\"#/$defs/x\"}]}", i == 0 ? "" : ",", i);
    at += sprintf(at, "},\"required\":[\"0\"");
    for (int i = 1; i < 250; i++)
        at += sprintf(at, ",\"%d\"", i);
    sprintf(at, "]}");
    return text;
}

/* An expression at the end of a long file, compiled for every place. */
static char *write_patterns(void)
{
    return write_list("\"junk\":{\"examples\":[", "0", 20000, "]},\"x\":{\"type\":\"string\",\"pattern\":\"a\"}", 16);
}

static void test_whatever_is_looked_at_is_a_step(void **state)
{
    char *const hostile[] = {write_twins(), write_halves(),   write_names(),
                             write_path(),  write_required(), write_patterns()};

    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        tn_error err = TN_ERROR_INIT;
        grammar *grammar;
        assert_int_equal(compile(hostile[i], &grammar, &err), TN_E_ARGUMENT);
        assert_non_null(strstr(err.msg, "too complex"));
        free(hostile[i]);
    }
}

/* Objects, each with an object first: which of them it is shows in no byte before. */
static void write_lookalikes(char *at, int count)
{
    at += sprintf(at, "{\"anyOf\":[");
    for (int i = 0; i < count; i++)
        at += sprintf(at,
                      "%s{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"title\":\"%d\"}},"
                      "\"required\":[\"a\"],\"additionalProperties\":false}",
                      i == 0 ? "" : ",", i);
    sprintf(at, "]}");
}

static void test_ways_to_read_are_bounded(void **state)
{
    char schema[8192];
    tn_error err = TN_ERROR_INIT;
    grammar *grammar;

    (void)state;
    write_lookalikes(schema, GRAMMAR_THREADS_MAX + 1);
    assert_int_equal(compile(schema, &grammar, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "17 kinds of object or array may begin in one place"));
    write_lookalikes(schema, GRAMMAR_THREADS_MAX); /* and a blank may come in that place, too */
    assert_takes(schema, LIST("{\"a\":{}}", "{\"a\": {\"b\":1}}"), LIST("{\"a\":1}", "{}"));
}

/* Two kinds of object, either of which may be in either: twice as many ways to read with each level. */
static void test_surplus_ways_to_read_are_left_out(void **state)
{
    static const char schema[] =
        "{\"$ref\":\"#/$defs/a\",\"$defs\":{"
        "\"a\":{\"anyOf\":["
        "{\"type\":\"object\",\"properties\":{\"in\":{\"$ref\":\"#/$defs/a\"}},\"additionalProperties\":false},"
        "{\"type\":\"object\",\"properties\":{\"in\":{\"$ref\":\"#/$defs/b\"}},\"additionalProperties\":false}]},"
        "\"b\":{\"anyOf\":["
        "{\"type\":\"object\",\"properties\":{\"in\":{\"$ref\":\"#/$defs/a\"}},\"additionalProperties\":false},"
        "{\"type\":\"object\",\"properties\":{\"in\":{\"$ref\":\"#/$defs/b\"}},\"additionalProperties\":false}]}}}";
    static const char nest[] =
        "{\"in\":{\"in\":{\"in\":{\"in\":{\"in\":{\"in\":{\"in\":{\"in\":{\"in\":{\"in\":{}}}}}}}}}}}";
    token_trie *trie = make_trie();
    uint32_t mask[WORDS];
    grammar_state at;
    grammar *grammar;

    (void)state;
    assert_int_equal(compile(schema, &grammar, NULL), TN_OK);
    matcher_start(walker, grammar, &at);
    for (size_t i = 0; nest[i]; i++) {
        matcher_mask(walker, grammar, &at, trie, mask, WORDS);
        assert_mask(grammar, &at, mask);
        if (!matcher_advance(walker, grammar, &at, nest + i, 1))
            fail_msg("%s is refused", nest + i);
    }
    assert_true(at.accepts);
    grammar_release(grammar);
    token_trie_destroy(trie);
}

static int set_up(void **state)
{
    (void)state;
    walker = malloc(sizeof *walker);
    return walker ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(walker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite_documents_are_accepted_or_refused),
        cmocka_unit_test(test_walks_end_in_documents),
        cmocka_unit_test(test_runs_end_where_lengths_do),
        cmocka_unit_test(test_numbers_between_bounds),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_objects_and_recursion),
        cmocka_unit_test(test_discriminators_are_required),
        cmocka_unit_test(test_lists_of_items),
        cmocka_unit_test(test_bounds_choose_among_values),
        cmocka_unit_test(test_look_ahead_behind_the_beginning),
        cmocka_unit_test(test_formats_of_tools),
        cmocka_unit_test(test_strict_closes_objects),
        cmocka_unit_test(test_choices_and_expressions),
        cmocka_unit_test(test_a_grammar_of_the_empty_text_alone_is_refused),
        cmocka_unit_test(test_refusals_name_keyword_and_place),
        cmocka_unit_test(test_whatever_is_looked_at_is_a_step),
        cmocka_unit_test(test_ways_to_read_are_bounded),
        cmocka_unit_test(test_surplus_ways_to_read_are_left_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
