/* test_generation.c: generation_config.json of published models, each with where a copy was found, and hostile ones. */
#include "cmocka_test.h"
#include "fake_source.h"
#include "model/generation.h"

static tn_status read(const char *json, tn_sampling_defaults *ret_defaults, tn_error *err)
{
    fake_source fake = {0};

    if (json)
        fake_set(&fake, "generation_config.json", fake_string(json));
    return generation_defaults_read(fake_source_view(&fake, "safetensors"), ret_defaults, err);
}

static void test_published_files_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        tn_sampling_defaults defaults;
    } published[] = {
        /* Llama 2 7B. HamZil/Llama-2-7b-hf: generation_config.json */
        {"{\"bos_token_id\": 1, \"do_sample\": true, \"eos_token_id\": 2, \"pad_token_id\": 0, \"temperature\": 0.6, "
         "\"max_length\": 4096, \"top_p\": 0.9, \"transformers_version\": \"4.31.0.dev0\"}",
         {0.6f, 0.9f, 0, 1, 0, 0}},
        /* Llama 3.2 1B Instruct. DannyMeb/iShrink-LLM-Compression-Framework: models/Llama-3.2-1B-Instruct */
        {"{\"bos_token_id\": 128000, \"do_sample\": true, \"eos_token_id\": [128001, 128008, 128009], \"temperature\": "
         "0.6, \"top_p\": 0.9, \"transformers_version\": \"4.47.1\"}",
         {0.6f, 0.9f, 0, 1, 0, 0}},
        /* R1-Distill-Llama 8B. ahmedghosaini/crag-meta: models/DeepSeek-R1-Distill-Llama-8B */
        {"{\"_from_model_config\": true, \"bos_token_id\": 128000, \"do_sample\": true, \"eos_token_id\": 128001, "
         "\"temperature\": 0.6, \"top_p\": 0.95, \"transformers_version\": \"4.48.0\"}",
         {0.6f, 0.95f, 0, 1, 0, 0}},
        /* Qwen2.5 0.5B Instruct. infinityarpan/qwen-25-api: models/Qwen2.5-0.5B-Instruct */
        {"{\"bos_token_id\": 151643, \"do_sample\": true, \"eos_token_id\": [151645, 151643], \"pad_token_id\": "
         "151643, "
         "\"repetition_penalty\": 1.1, \"temperature\": 0.7, \"top_k\": 20, \"top_p\": 0.8}",
         {0.7f, 0.8f, 0, 1.1f, 20, 0}},
        /* Qwen3 8B. sanjithudupa/compute-aware-arch-search: Qwen3-8B */
        {"{\"bos_token_id\": 151643, \"do_sample\": true, \"eos_token_id\": [151645, 151643], \"pad_token_id\": "
         "151643, "
         "\"temperature\": 0.6, \"top_k\": 20, \"top_p\": 0.95}",
         {0.6f, 0.95f, 0, 1, 20, 0}},
        /* Gemma 2 2B. HakunaMatata888/gemma2-poem: generation_config.json */
        {"{\"_from_model_config\": true, \"bos_token_id\": 2, \"cache_implementation\": \"hybrid\", \"eos_token_id\": "
         "[1, 107], \"pad_token_id\": 0}",
         {1, 1, 0, 1, 0, 0}},
    };

    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        tn_sampling_defaults defaults;
        assert_int_equal(read(published[i].json, &defaults, NULL), TN_OK);
        assert_memory_equal(&defaults, &published[i].defaults, sizeof defaults);
    }
}

static void test_what_is_not_said_is_neutral(void **state)
{
    (void)state;
    tn_sampling_defaults defaults;

    assert_int_equal(read(NULL, &defaults, NULL), TN_OK);
    assert_memory_equal(&defaults, &generation_neutral, sizeof defaults);
    assert_int_equal(read("{\"top_k\": null, \"temperature\": null, \"max_new_tokens\": null}", &defaults, NULL),
                     TN_OK);
    assert_memory_equal(&defaults, &generation_neutral, sizeof defaults);
    assert_int_equal(
        read("{\"temperature\": 0, \"top_k\": 0, \"min_p\": 0.05, \"max_new_tokens\": 2048}", &defaults, NULL), TN_OK);
    assert_true(defaults.temperature == 0.0f && defaults.min_p == 0.05f);
    assert_int_equal(defaults.max_new, 2048);
    assert_int_equal(read("{\"temperature\": 0.000001}", &defaults, NULL), TN_OK);
    assert_true(defaults.temperature == 0.0f);
}

static void test_what_cannot_be_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *json, *part;
    } bad[] = {
        {"{\"temperature\": -1}", "generation_config.json temperature: "},
        {"{\"temperature\": \"hot\"}", "generation_config.json temperature: "},
        {"{\"top_p\": 0}", "generation_config.json top_p: "},
        {"{\"top_p\": 1.5}", "generation_config.json top_p: "},
        {"{\"min_p\": 2}", "generation_config.json min_p: "},
        {"{\"repetition_penalty\": 0}", "generation_config.json repetition_penalty: "},
        {"{\"top_k\": -1}", "generation_config.json top_k: "},
        {"{\"top_k\": 2.5}", "generation_config.json top_k: "},
        {"{\"max_new_tokens\": 0}", "generation_config.json max_new_tokens: "},
        {"{\"max_new_tokens\": 1000000000000000019884624838656}", "generation_config.json max_new_tokens: "},
        {"[]", "generation_config.json must hold an object"},
        {"{\n\"top_p\" 1}", "generation_config.json line 2: "},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tn_sampling_defaults defaults = {.top_k = 77};
        tn_error err = TN_ERROR_INIT;
        assert_int_equal(read(bad[i].json, &defaults, &err), TN_E_CORRUPT);
        if (!strstr(err.msg, bad[i].part))
            fail_msg("%s: %s", bad[i].json, err.msg);
        assert_int_equal(defaults.top_k, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_files_are_read),
        cmocka_unit_test(test_what_is_not_said_is_neutral),
        cmocka_unit_test(test_what_cannot_be_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
