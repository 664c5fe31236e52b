/* test_chat_source.c: which template a checkpoint has, and which special tokens it tells it of. */
#include "cmocka_test.h"
#include "fake_source.h"

#include "chat/chat_template.h"
#include "instance/chat_source.h"

static fake_source fake;
static chat_source found;

static int fresh(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    chat_source_finish(&found);
    return 0;
}

static tn_status find(const char *container, tn_error *err)
{
    chat_source_finish(&found);
    return chat_source_find(fake_source_view(&fake, container), NULL, &found, err);
}

static void expect(const char *text, const char *tool_text)
{
    tn_error err = TN_ERROR_INIT;
    if (find("safetensors", &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(found.bytes, strlen(text));
    assert_memory_equal(found.text, text, found.bytes);
    assert_int_equal(found.tool_text != NULL, tool_text != NULL);
    if (tool_text)
        assert_memory_equal(found.tool_text, tool_text, found.tool_bytes);
}

static void test_files_come_in_the_order_of_transformers(void **state)
{
    (void)state;
    assert_int_equal(find("safetensors", NULL), TN_E_NOT_FOUND);
    fake_set(&fake, "tokenizer_config.json", fake_string("{\"chat_template\": \"config\"}"));
    expect("config", NULL);
    fake_set(&fake, "chat_template.json", fake_string("{\"chat_template\": \"json\"}"));
    expect("json", NULL);
    fake_set(&fake, "chat_template.jinja", fake_string("jinja"));
    expect("jinja", NULL);
}

static void test_named_templates_are_told_apart(void **state)
{
    (void)state;
    fake_set(&fake, "tokenizer_config.json",
             fake_string("{\"chat_template\": [{\"name\": \"rag\", \"template\": \"r\"}, {\"name\": \"tool_use\", "
                         "\"template\": \"t\"}, {\"name\": \"default\", \"template\": \"d\"}, {\"name\": 7}]}"));
    expect("d", "t");
    fake_set(&fake, "tokenizer_config.json",
             fake_string("{\"chat_template\": [{\"name\": \"rag\", \"template\": \"r\"}]}"));
    assert_int_equal(find("safetensors", NULL), TN_E_NOT_FOUND);
}

static void test_gguf_keys_hold_both(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    fake_set(&fake, "tokenizer.chat_template", fake_string("d"));
    fake_set(&fake, "tokenizer.chat_template.tool_use", fake_string("t"));
    assert_int_equal(find("gguf", &err), TN_OK);
    assert_memory_equal(found.tool_text, "t", 1);
    fake_set(&fake, "tokenizer.chat_template", fake_uint(1));
    assert_int_equal(find("gguf", &err), TN_E_CORRUPT);
    assert_string_equal(err.msg, "fake.file: tokenizer.chat_template is not a string");
}

static void test_special_tokens_become_variables(void **state)
{
    (void)state;
    fake_set(&fake, "chat_template.jinja", fake_string("x"));
    fake_set(&fake, "tokenizer_config.json",
             fake_string("{\"pad_token\": {\"content\": \"<p>\"}, \"bos_token\": \"<s>\", \"image_token\": \"<i>\", "
                         "\"add_bos_token\": \"no\", \"unk_token\": null, "
                         "\"model_max_length\": 1000000000000000019884624838656}"));
    fake_set(&fake, "special_tokens_map.json", fake_string("{\"pad_token\": \"<q>\", \"mask_token\": \"<m>\"}"));
    expect("x", NULL);
    assert_int_equal(json_object_size(found.tokens), 3);
    assert_string_equal(json_string_value(json_object_get(found.tokens, "pad_token")), "<p>");
    assert_string_equal(json_string_value(json_object_get(found.tokens, "image_token")), "<i>");
    assert_string_equal(json_string_value(json_object_get(found.tokens, "mask_token")), "<m>");
}

static void test_broken_json_is_an_error_with_its_line(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    fake_set(&fake, "tokenizer_config.json", fake_string("{\n]"));
    assert_int_equal(find("safetensors", &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "tokenizer_config.json, line 2: "));
}

static void expect_rendering(const chat_template *made, const char *request, const char *expected)
{
    char *text = NULL;
    uint64_t n;
    assert_int_equal(chat_template_render(made, request, strlen(request), &text, &n, NULL), TN_OK);
    assert_string_equal(text, expected);
    free(text);
}

static void test_requests_with_tools_get_their_own_template(void **state)
{
    (void)state;
    chat_template *made = NULL;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(chat_template_create("{{ pad_token }}", 15, "", "", &made, &err), TN_OK);
    assert_int_equal(chat_template_set_token(made, "pad_token", "<p>", &err), TN_OK);
    assert_int_equal(chat_template_set_tool_use(made, "{{ tools | length }}{{ pad_token }}", 35, &err), TN_OK);
    expect_rendering(made, "{\"messages\": []}", "<p>");
    expect_rendering(made, "{\"messages\": [], \"tools\": null}", "<p>");
    expect_rendering(made, "{\"messages\": [], \"tools\": [{}]}", "1<p>");
    chat_template_destroy(made);
    assert_int_equal(chat_template_create("x", 1, "", "", &made, &err), TN_OK);
    assert_int_equal(chat_template_set_tool_use(made, "{{", 2, &err), TN_E_ARGUMENT);
    expect_rendering(made, "{\"messages\": [], \"tools\": [{}]}", "x");
    chat_template_destroy(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_come_in_the_order_of_transformers, fresh, drop),
        cmocka_unit_test_setup_teardown(test_named_templates_are_told_apart, fresh, drop),
        cmocka_unit_test_setup_teardown(test_gguf_keys_hold_both, fresh, drop),
        cmocka_unit_test_setup_teardown(test_special_tokens_become_variables, fresh, drop),
        cmocka_unit_test_setup_teardown(test_broken_json_is_an_error_with_its_line, fresh, drop),
        cmocka_unit_test_setup_teardown(test_requests_with_tools_get_their_own_template, fresh, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
