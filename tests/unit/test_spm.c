/* test_spm.c: plugins/tokenizer_spm on small files, honest and hostile: what the golden samples do not say. */
#include "cmocka_test.h"
#include "gguf_writer.h"
#include "tokenizer.h"

#include <string.h>

typedef struct directory {
    tn_source source;
    byte_writer model;
    const char *json, *config, *added; /* NULL: not there */
} directory;

static directory dir;

static tn_status dir_meta(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    (void)source;
    const char *text = strcmp(key, "tokenizer.json") == 0          ? dir.json
                       : strcmp(key, "tokenizer_config.json") == 0 ? dir.config
                       : strcmp(key, "added_tokens.json") == 0     ? dir.added
                                                                   : NULL;
    bool model = dir.model.size > 0 && strcmp(key, "tokenizer.model") == 0;
    if (!text && !model)
        return TN_E_NOT_FOUND;
    *ret_meta = (tn_meta){.struct_size = sizeof *ret_meta,
                          .kind = TN_META_STRING,
                          .count = model ? dir.model.size : strlen(text),
                          .string = model ? (const char *)dir.model.data : text};
    return TN_OK;
}

/* A field of at most 127 bytes. */
static void put_bytes(byte_writer *w, unsigned tag, const void *bytes, size_t n)
{
    write_u8(w, (uint8_t)(tag << 3 | 2));
    write_u8(w, (uint8_t)n);
    write_bytes(w, bytes, n);
}

static void put_piece(const char *text, float score, uint8_t type)
{
    byte_writer piece = {0};
    put_bytes(&piece, 1, text, strlen(text));
    write_u8(&piece, 2 << 3 | 5);
    write_bytes(&piece, &score, sizeof score);
    write_u8(&piece, 3 << 3);
    write_u8(&piece, type);
    put_bytes(&dir.model, 1, piece.data, piece.size);
    free(piece.data);
}

enum { UNK, BOS, EOS, CTL, USER, SPACE, A, B, AB, SPACE_A, BYTE_0A, PIECES };

static void put_model(uint8_t type)
{
    static const struct {
        const char *text;
        float score;
        uint8_t type;
    } pieces[PIECES] = {{"<unk>", 0, 2}, {"<s>", 0, 3},          {"</s>", 0, 3},  {"[C]", 0, 3},
                        {"[U]", 0, 4},   {SPM_SPACE, -3, 1},     {"a", -4, 1},    {"b", -5, 1},
                        {"ab", -2, 1},   {SPM_SPACE "a", -1, 1}, {"<0x0A>", 0, 6}};
    const uint8_t trainer[] = {3 << 3, type}, normalizer[] = {4 << 3, 0};
    for (int i = 0; i < PIECES; i++)
        put_piece(pieces[i].text, pieces[i].score, pieces[i].type);
    put_bytes(&dir.model, 2, trainer, sizeof trainer);
    put_bytes(&dir.model, 3, normalizer, sizeof normalizer);
}

static int fresh(void **state)
{
    (void)state;
    dir = (directory){
        .source = {.struct_size = sizeof dir.source, .container = "safetensors", .path = "dir", .meta = dir_meta}};
    return 0;
}

static int drop(void **state)
{
    (void)state;
    free(dir.model.data);
    return 0;
}

static tn_tok *opened(void)
{
    tn_tok *tok = NULL;
    tn_error err = TN_ERROR_INIT;
    if (tokenizer_open(&dir.source, &tok, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return tok;
}

static void refused(tn_status expected, const char *sentence)
{
    tn_error err = TN_ERROR_INIT;
    tn_tok *tok = (tn_tok *)&dir;
    assert_int_equal(tokenizer_open(&dir.source, &tok, &err), expected);
    assert_string_equal(err.msg, sentence);
    assert_ptr_equal(tok, &dir);
}

static void expect(const tn_tok *tok, const char *text, uint32_t flags, const int32_t *expected, uint64_t count)
{
    int32_t ids[64];
    uint64_t got = 64;
    assert_int_equal(tokenizer_encode(tok, text, strlen(text), flags, ids, &got, NULL), TN_OK);
    assert_int_equal(got, count);
    assert_memory_equal(ids, expected, count * sizeof *ids);
}

#define EXPECT(tok, text, flags, ...) \
    expect(tok, text, flags, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void test_special_tokens_are_text_unless_asked_for(void **state)
{
    (void)state;
    put_model(2);
    tn_tok *tok = opened();
    EXPECT(tok, "ab[U]a", 0, SPACE_A, B, USER, A);
    EXPECT(tok, "a[C]a", TN_ENCODE_PARSE_SPECIAL, SPACE_A, CTL, SPACE_A);
    EXPECT(tok, "a[C]a", 0, SPACE_A, UNK, A);
    EXPECT(tok, "a", TN_ENCODE_ADD_SPECIAL, BOS, SPACE_A);
    tokenizer_close(tok);
}

static void test_config_says_what_frames_a_text_and_where_spaces_go(void **state)
{
    (void)state;
    put_model(2);
    dir.config = "{\"add_bos_token\": false, \"add_eos_token\": true, \"legacy\": false, \"eos_token\": \"[C]\"}";
    tn_tok *tok = opened();
    EXPECT(tok, "a[C]a", TN_ENCODE_ADD_SPECIAL | TN_ENCODE_PARSE_SPECIAL, SPACE_A, CTL, A, CTL);
    assert_true(tokenizer_attributes(tok, CTL) & TN_TOKEN_ENDS_GENERATION);
    tokenizer_close(tok);
    dir.config = "{\"add_bos_token\": 1}";
    refused(TN_E_CORRUPT, "dir: tokenizer_config.json: \"add_bos_token\" is not true or false");
}

static void test_added_tokens_follow_the_pieces(void **state)
{
    (void)state;
    put_model(2);
    dir.added = "{\"<new>\": 11, \"<end>\": 12}";
    dir.config =
        "{\"eos_token\": \"<end>\", \"added_tokens_decoder\": {\"12\": {\"content\": \"<end>\", \"rstrip\": true}}}";
    tn_tok *tok = opened();
    assert_int_equal(tokenizer_vocab_size(tok), PIECES + 2);
    EXPECT(tok, "a<new>a<end>  a", TN_ENCODE_PARSE_SPECIAL, SPACE_A, 11, SPACE_A, 12, SPACE_A);
    EXPECT(tok, "a<new><end>", 0, SPACE_A, 11, SPACE, UNK);
    tokenizer_close(tok);
    dir.added = "{\"<new>\": 4}";
    refused(TN_E_CORRUPT, "dir: added_tokens.json: \"[U]\" and \"<new>\" have the same id 4");
    dir.added = "{\"<new>\": -1}";
    refused(TN_E_CORRUPT, "dir: added_tokens.json: the id of \"<new>\" is not an integer from 0 to 4194303");
}

/* "b" and "aa" are added, and match as single words only. The ids are those of tokenizers 0.23.3. */
#define WORDS                                                                    \
    "\"added_tokens\": [{\"id\": 2, \"content\": \"b\", \"single_word\": true}," \
    " {\"id\": 3, \"content\": \"aa\", \"single_word\": true}]"
#define BPE_OF_A "\"type\": \"BPE\", \"unk_token\": \"?\", \"vocab\": {\"?\": 0, \"a\": 1}, \"merges\": []"

static void test_added_tokens_are_no_pieces(void **state)
{
    (void)state;
    const char *const models[] = {"{" BPE_OF_A "}", "{" BPE_OF_A ", \"ignore_merges\": true}",
                                  "{\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"?\", 0], [\"a\", -1]]}"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char json[512];
        snprintf(json, sizeof json, "{" WORDS ", \"model\": %s}", models[i]);
        dir.json = json;
        tn_tok *tok = opened();
        EXPECT(tok, "b", 0, 2);
        EXPECT(tok, "ab", 0, 1, 0);
        EXPECT(tok, "aaa", 0, 1, 1, 1);
        EXPECT(tok, "aa", 0, 3);
        tokenizer_close(tok);
    }
    dir.json = NULL;
    put_model(2);
    dir.config = "{\"added_tokens_decoder\": {\"11\": {\"content\": \"bb\", \"single_word\": true}}}";
    tn_tok *tok = opened();
    EXPECT(tok, "abb", 0, SPACE_A, B, B);
    EXPECT(tok, "a bb", 0, SPACE_A, SPACE, 11);
    tokenizer_close(tok);
}

static void test_pieces_decode_to_bytes(void **state)
{
    (void)state;
    char bytes[8];
    uint64_t n = 8;
    put_model(2);
    tn_tok *tok = opened();
    assert_int_equal(tokenizer_piece(tok, SPACE_A, 0, 0, bytes, &n, NULL), TN_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(bytes, " a", 2);
    assert_int_equal(tokenizer_piece(tok, SPACE_A, 0, 1, bytes, &n, NULL), TN_OK);
    assert_int_equal(n, 1);
    assert_int_equal(tokenizer_piece(tok, BYTE_0A, 0, 0, bytes, &n, NULL), TN_OK);
    assert_memory_equal(bytes, "\n", 1);
    assert_int_equal(tokenizer_piece(tok, CTL, TN_PIECE_SKIP_SPECIAL, 0, bytes, &n, NULL), TN_OK);
    assert_int_equal(n, 0);
    assert_int_equal(tokenizer_piece(tok, CTL, 0, 0, bytes, &n, NULL), TN_E_MEMORY);
    assert_int_equal(n, 3);
    assert_int_equal(tokenizer_piece(tok, PIECES, 0, 0, bytes, &n, NULL), TN_E_ARGUMENT);
    tokenizer_close(tok);
}

static void test_files_that_are_no_models_are_refused(void **state)
{
    (void)state;
    static const char no_model[] =
        "dir: tokenizer.model is not a SentencePiece model; put the model's tokenizer.json beside it";
    write_bytes(&dir.model, "IQ== 0\nIg== 1\n", 14);
    refused(TN_E_CORRUPT, no_model);
    static const uint8_t lies[][12] = {
        {0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F},             /* a length of 2^63 */
        {0x0A, 0x05, 0x0A, 0x7F, 'a', 'b', 'c'},                                  /* a text beyond its piece */
        {0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}, /* a varint without end */
        {0x0B, 0x0C},                                                             /* a group */
        {0x0A, 0x02, 0x18, 0x09},                                                 /* a piece of type 9 */
        {0x12, 0x02, 0x18, 0x07}};                                                /* a model of type 7 */
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        dir.model.size = 0;
        write_bytes(&dir.model, lies[i], sizeof lies[i]);
        refused(TN_E_CORRUPT, no_model);
    }
}

static void test_models_of_other_kinds_are_refused_by_name(void **state)
{
    (void)state;
    put_model(3);
    refused(TN_E_UNSUPPORTED, "dir: tokenizer.model: models of type word are not supported");
    dir.model.size = 0;
    put_model(2);
    put_piece("", 0, 1);
    refused(TN_E_CORRUPT, "dir: tokenizer.model: a piece is empty");
    dir.model.size = 0;
    put_model(2);
    put_piece("x", 0.0f / 0.0f, 1);
    refused(TN_E_CORRUPT, "dir: the score of token 11 is not a finite number");
    dir.model.size = 0;
    put_model(2);
    put_piece("ab", 0, 1);
    refused(TN_E_CORRUPT, "dir: tokenizer.model: \"ab\" has two ids, 8 and 11");
    dir.model.size = 0;
    put_model(1);
    const uint8_t normalizer[] = {2 << 3 | 2, 6, 1, 0, 0, 0, 1, 2};
    put_bytes(&dir.model, 3, normalizer, sizeof normalizer);
    refused(TN_E_CORRUPT, "dir: tokenizer.model: precompiled_charsmap of 6 bytes holds no trie and replacements");
}

#define BPE "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}"

static void test_json_parts_are_refused_by_name(void **state)
{
    (void)state;
    dir.json = "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}}}";
    refused(TN_E_NOT_FOUND, "dir: tokenizer.json: the model is \"WordPiece\", not BPE or Unigram of pieces");
    dir.json = "{" BPE ", \"normalizer\": {\"type\": \"Lowercase\"}}";
    refused(TN_E_UNSUPPORTED, "dir: tokenizer.json: a normalizer of type \"Lowercase\" is not supported");
    dir.json =
        "{" BPE ", \"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"x+\"}, \"content\": \"\"}}";
    refused(TN_E_UNSUPPORTED, "dir: tokenizer.json: Replace of the regex \"x+\" is not supported");
    dir.json = "{" BPE ", \"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"A*\"}}";
    refused(TN_E_CORRUPT, "dir: tokenizer.json: precompiled_charsmap is not base64");
    dir.json = "{" BPE ", \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}}";
    refused(TN_E_UNSUPPORTED, "dir: tokenizer.json: a pre_tokenizer of type \"BertPreTokenizer\" is not supported");
    dir.json = "{" BPE ", \"decoder\": {\"type\": \"CTC\"}}";
    refused(TN_E_UNSUPPORTED, "dir: tokenizer.json: a decoder of type \"CTC\" is not supported");
    dir.json = NULL;
    refused(TN_E_NOT_FOUND, "dir: there is no tokenizer.json and no tokenizer.model");
}

/* A chain of merges as deep as the text is long, twice: the heap, not the list, must order them. */
static void test_a_long_word_is_merged_whole(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    static int32_t ids[N + 2];
    static char text[N];
    uint64_t count = N + 2;
    put_model(2);
    tn_tok *tok = opened();
    for (size_t i = 0; i < N; i++)
        text[i] = i % 2 ? 'b' : 'a';
    assert_int_equal(tokenizer_encode(tok, text, N, 0, ids, &count, NULL), TN_OK);
    assert_int_equal(count, N / 2 + 1);
    assert_int_equal(ids[0], SPACE_A);
    assert_int_equal(ids[1], B);
    assert_int_equal(ids[2], AB);
    assert_int_equal(ids[count - 1], AB);
    tokenizer_close(tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_special_tokens_are_text_unless_asked_for, fresh, drop),
        cmocka_unit_test_setup_teardown(test_config_says_what_frames_a_text_and_where_spaces_go, fresh, drop),
        cmocka_unit_test_setup_teardown(test_added_tokens_follow_the_pieces, fresh, drop),
        cmocka_unit_test_setup_teardown(test_added_tokens_are_no_pieces, fresh, drop),
        cmocka_unit_test_setup_teardown(test_pieces_decode_to_bytes, fresh, drop),
        cmocka_unit_test_setup_teardown(test_files_that_are_no_models_are_refused, fresh, drop),
        cmocka_unit_test_setup_teardown(test_models_of_other_kinds_are_refused_by_name, fresh, drop),
        cmocka_unit_test_setup_teardown(test_json_parts_are_refused_by_name, fresh, drop),
        cmocka_unit_test_setup_teardown(test_a_long_word_is_merged_whole, fresh, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
