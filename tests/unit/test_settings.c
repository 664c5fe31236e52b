/* test_settings.c: good files, each kind of bad line with its message, --set, plugins' sections. */
#include "cmocka_test.h"

#include "settings/settings.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/tenon-settings-XXXXXX";
static char ini[64];

static void write_ini(const char *bytes, size_t n)
{
    FILE *file = fopen(ini, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static settings *must_read(const char *text, const char *const *overrides)
{
    tn_error err = TN_ERROR_INIT;
    settings *settings = NULL;
    write_ini(text, strlen(text));
    if (settings_read(ini, overrides, &settings, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return settings;
}

/* The message after "<folder>/", so that expectations read "t.ini:1: ...". */
static void must_fail_bytes(const char *bytes, size_t n, const char *const *overrides, const char *message)
{
    tn_error err = TN_ERROR_INIT;
    settings *settings = NULL;
    write_ini(bytes, n);
    tn_status status = settings_read(ini, overrides, &settings, &err);
    assert_int_equal(status, TN_E_ARGUMENT);
    assert_null(settings);
    const char *at = strstr(err.msg, folder);
    assert_string_equal(at == err.msg ? err.msg + strlen(folder) + 1 : err.msg, message);
}

static void must_fail(const char *text, const char *message)
{
    must_fail_bytes(text, strlen(text), NULL, message);
}

static void test_defaults_apply_without_a_file(void **state)
{
    (void)state;
    settings *s = NULL;
    assert_int_equal(settings_read(NULL, NULL, &s, NULL), TN_OK);
    assert_string_equal(settings_string(s, "backend", "plugin"), "cpu");
    assert_null(settings_string(s, "model", "path"));
    assert_true(settings_is_auto(s, "model", "max_model_len"));
    assert_true(settings_bool(s, "engine", "enable_prefix_caching"));
    assert_true(settings_number(s, "engine", "gpu_memory_utilization") == 0.90);
    assert_int_equal(settings_integer(s, "backend", "tensor_parallel_size"), 1);
    settings_destroy(s);
}

static void test_file_values_win_over_defaults(void **state)
{
    (void)state;
    settings *s = must_read("\xEF\xBB\xBF; a comment\r\n[model]\r\n  path = m.gguf ; the model\r\nmax_model_len=8K\n"
                            "# more\n[engine]\nenable_prefix_caching: off\nmax_num_seqs = 3\n[empty_plugin]",
                            NULL);
    char path[96];
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    assert_string_equal(settings_string(s, "model", "path"), path);
    assert_int_equal(settings_integer(s, "model", "max_model_len"), 8192);
    assert_false(settings_is_auto(s, "model", "max_model_len"));
    assert_false(settings_bool(s, "engine", "enable_prefix_caching"));
    assert_int_equal(settings_integer(s, "engine", "max_num_seqs"), 3);
    settings_destroy(s);
}

static void test_a_name_in_the_registry_is_no_path(void **state)
{
    (void)state;
    settings *s = must_read("[model]\npath = registry:chat@v1\n[registry]\npath = store\n", NULL);
    char path[96];
    snprintf(path, sizeof path, "%s/store", folder);
    assert_string_equal(settings_string(s, "model", "path"), "registry:chat@v1");
    assert_string_equal(settings_string(s, "registry", "path"), path);
    settings_destroy(s);
}

static void test_overrides_win_over_the_file_and_the_last_one_over_the_first(void **state)
{
    (void)state;
    const char *overrides[] = {"engine.max_num_seqs=5", "model.path=/a.gguf", "engine.max_num_seqs=7", "cpu.threads=2",
                               NULL};
    settings *s = must_read("[engine]\nmax_num_seqs = 3\n[cpu]\nthreads = 1\nfamily = a=b\n", overrides);
    assert_int_equal(settings_integer(s, "engine", "max_num_seqs"), 7);
    assert_string_equal(settings_string(s, "model", "path"), "/a.gguf");
    assert_string_equal(settings_plugin_value(s, "cpu", "threads"), "2");
    assert_string_equal(settings_plugin_value(s, "cpu", "family"), "a=b");
    assert_null(settings_plugin_value(s, "cpu", "other"));
    settings_destroy(s);
}

static void test_lines_beyond_the_ini_library_limit_are_whole(void **state)
{
    (void)state;
    char text[4096] = "[quant]\nplugins = ", expected[3001];
    memset(expected, 'a', 3000);
    expected[3000] = 0;
    strcat(text, expected);
    strcat(text, "  ; comment\n[log]\nlevel = debug\n");
    settings *s = must_read(text, NULL);
    assert_string_equal(settings_string(s, "quant", "plugins"), expected);
    assert_string_equal(settings_string(s, "log", "level"), "debug");
    settings_destroy(s);
}

static void test_every_line_length_around_the_limit_survives(void **state)
{
    (void)state;
    for (size_t n = 170; n < 210; n++) {
        char text[512] = "[model]\nserved_model_name=", expected[256] = "";
        memset(expected, 'b', n);
        strcat(text, expected);
        settings *s = must_read(text, NULL);
        assert_string_equal(settings_string(s, "model", "served_model_name"), expected);
        settings_destroy(s);
    }
}

static void test_unknown_keys_name_line_and_neighbour(void **state)
{
    (void)state;
    must_fail("[model]\n\nmax_model_length = 5\n",
              "t.ini:3: [model] has no key \"max_model_length\"; did you mean \"max_model_len\"?");
    must_fail("[engine]\nmax_model_len = 5\n",
              "t.ini:2: [engine] has no key \"max_model_len\"; that key belongs in [model]");
    must_fail("[backend]\nzzzzzzzz = 5\n",
              "t.ini:2: [backend] has no key \"zzzzzzzz\"; it has plugin, tensor_parallel_size");
}

static void test_bad_values_name_what_would_be_good(void **state)
{
    (void)state;
    must_fail("[model]\nmax_model_len = lots",
              "t.ini:2: [model] max_model_len: \"lots\" is not auto or a size such as 8k, 8K or 2GiB");
    must_fail("[engine]\ngpu_memory_utilization = 1.5",
              "t.ini:2: [engine] gpu_memory_utilization: 1.5 is outside 0.001 to 1");
    must_fail("[log]\nlevel = loud\n", "t.ini:2: [log] level: \"loud\" is not error, warning, info or debug");
    must_fail("[log]\nlevel =\n", "t.ini:2: [log] level has no value; remove the line to get the default");
}

static void test_duplicate_keys_are_refused_also_across_sections_that_reopen(void **state)
{
    (void)state;
    must_fail("[log]\nlevel = info\n[model]\n[log]\nlevel = debug\n",
              "t.ini:5: [log] level is already set in line 2; keep one of them");
    must_fail("[cpu]\nthreads = 1\nthreads = 1\n", "t.ini:3: [cpu] threads is already set in line 2; keep one of them");
}

static void test_malformed_lines_are_refused(void **state)
{
    (void)state;
    must_fail("[log\nlevel = info\n", "t.ini:1: the section header lacks its ']'");
    must_fail("[log] level = info\n", "t.ini:1: text follows the section header; put the key on a line of its own");
    must_fail("[]\n", "t.ini:1: a section name has 1 to 48 bytes");
    must_fail("[0123456789012345678901234567890123456789012345678]\n", "t.ini:1: a section name has 1 to 48 bytes");
    must_fail("level = info\n", "t.ini:1: a key stands before the first [section]");
    must_fail("[log]\nlevel\n", "t.ini:2: expected \"key = value\" or \"[section]\"");
    must_fail("[log]\nlevel\nnonsense = 1\n", "t.ini:2: expected \"key = value\" or \"[section]\"");
    must_fail("[log]\n= info\n", "t.ini:2: expected \"key = value\"");
    must_fail("[a;b]\nx\n=3\n", "t.ini:2: expected \"key = value\" or \"[section]\"");
}

static void test_hostile_bytes_are_refused(void **state)
{
    (void)state;
    must_fail_bytes("[log]\nlev\0el = info\n", 20, NULL,
                    "t.ini:2: the line holds a NUL or another control byte; settings are plain text");
    must_fail("[log]\nlevel = \x1b[31m\n",
              "t.ini:2: the line holds a NUL or another control byte; settings are plain text");
    must_fail("[log]\nlevel = \xff\n", "t.ini:2: the line is not valid UTF-8");
    static char big[(1 << 20) + 2];
    memset(big, 'x', sizeof big);
    memcpy(big, "[log]\n", 6);
    must_fail_bytes(big, 6 + 4097, NULL, "t.ini:2: the line is longer than 4096 bytes");
    must_fail_bytes(big, sizeof big, NULL, "t.ini: larger than 1 MiB, which no settings file is");
    must_fail_bytes(big, 6 + 1000, NULL, "t.ini:2: expected \"key = value\"");
}

static void test_bad_overrides_name_set(void **state)
{
    (void)state;
    const struct {
        const char *override, *message;
    } cases[] = {
        {"engine.max_num_sequence=5",
         "--set: [engine] has no key \"max_num_sequence\"; did you mean \"max_num_seqs\"?"},
        {"engine.seed=x", "--set: [engine] seed: \"x\" is not an integer"},
        {"engine", "--set engine: expected section.key=value"},
        {"engine.seed", "--set engine.seed: expected section.key=value"},
        {".seed=1", "--set .seed=1: expected section.key=value"},
        {"engine.=1", "--set engine.=1: expected section.key=value"},
        {"seed=a.b", "--set seed=a.b: expected section.key=value"},
        {"log.level=", "--set: [log] level has no value; remove the line to get the default"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        must_fail_bytes("", 0, (const char *[]){cases[i].override, NULL}, cases[i].message);
}

static void test_missing_file_is_an_io_error(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    settings *s = NULL;
    assert_int_equal(settings_read("/nonexistent/t.ini", NULL, &s, &err), TN_E_IO);
    assert_non_null(strstr(err.msg, "/nonexistent/t.ini"));
    assert_int_equal(settings_read("/tmp", NULL, &s, &err), TN_E_IO);
}

static const tn_option cpu_options[] = {
    {sizeof(tn_option), 0, "threads", "auto|integer", "auto", "Threads."},
    {sizeof(tn_option), 0, "table", "path", NULL, "A file."},
};

static tn_status check_cpu(const char *text, tn_error *err)
{
    settings *s = must_read(text, NULL);
    tn_status status = settings_check_plugin(s, "cpu", cpu_options, 2, sizeof(tn_option), err);
    settings_destroy(s);
    return status;
}

static void test_plugin_sections_are_checked_against_the_plugins_table(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(check_cpu("[cpu]\nthreads = 4\n[other]\nx = 1\n", &err), TN_OK);
    assert_int_equal(check_cpu("[cpu]\nthread = 4\n", &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "t.ini:2: plugin \"cpu\" has no key \"thread\"; did you mean \"threads\"?"));
    assert_int_equal(check_cpu("[cpu]\nthreads = many\n", &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "t.ini:2: [cpu] threads: \"many\" is not auto or an integer"));
}

static void test_plugin_paths_are_relative_to_the_file(void **state)
{
    (void)state;
    char path[96];
    snprintf(path, sizeof path, "%s/t.bin", folder);
    settings *s = must_read("[cpu]\ntable = t.bin\n", NULL);
    assert_string_equal(settings_plugin_value(s, "cpu", "table"), "t.bin");
    assert_string_equal(settings_plugin_path(s, "cpu", "table"), path);
    settings_destroy(s);
}

static void test_sections_of_nobody_are_refused_even_when_empty(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    const char *ids[] = {"cpu", NULL};
    settings *s = must_read("[cpu]\n[modle]\n", NULL);
    assert_int_equal(settings_check_sections(s, ids, true, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "t.ini:2: there is no section [modle]; did you mean [model]?"));
    settings_destroy(s);
    s = must_read("[cpu]\n[model]\n", NULL);
    assert_int_equal(settings_check_sections(s, ids, true, &err), TN_OK);
    settings_destroy(s);
}

static void test_a_refusal_says_where_the_name_was_set(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    const char *overrides[] = {"tokenizer.plugins=b", NULL};
    settings *s = must_read("[backend]\nplugin = a\n", overrides);
    assert_int_equal(settings_fail(s, "backend", "plugin", TN_E_NOT_FOUND, "why", &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/t.ini:2: [backend] plugin: why"));
    settings_fail(s, "tokenizer", "plugins", TN_E_NOT_FOUND, "why", &err);
    assert_string_equal(err.msg, "--set: [tokenizer] plugins: why");
    settings_fail(s, "quant", "plugins", TN_E_NOT_FOUND, "why", &err);
    assert_string_equal(err.msg, "why");
    settings_destroy(s);
}

static void test_sections_with_a_name_of_their_own(void **state)
{
    (void)state;
    const char *const overrides[] = {"pool b.count=7", "pool c.count=9", NULL};
    settings *s = must_read("[pool b]\ncount = 2\nhours_per_month = 100\n[pool a]\n[pool b]\nnodes = 3\n", overrides);

    assert_string_equal(settings_named_section(s, "pool", 0), "pool b");
    assert_string_equal(settings_named_section(s, "pool", 1), "pool a");
    assert_string_equal(settings_named_section(s, "pool", 2), "pool c");
    assert_null(settings_named_section(s, "pool", 3));
    assert_null(settings_named_section(s, "price", 0));
    assert_int_equal(settings_integer(s, "pool b", "count"), 7);
    assert_int_equal(settings_integer(s, "pool b", "nodes"), 3);
    assert_int_equal(settings_integer(s, "pool c", "count"), 9);
    assert_null(settings_string(s, "pool a", "count"));
    assert_true(settings_number(s, "pool a", "hours_per_month") == 730);
    assert_true(settings_number(s, "pool b", "hours_per_month") == 100);
    assert_int_equal(settings_check_sections(s, NULL, true, NULL), TN_OK);
    settings_destroy(s);
}

static void test_a_service_takes_keys_of_its_engines(void **state)
{
    (void)state;
    settings *s = must_read("[service chat]\nmodel = tiny\nmax_model_len = 8k\nchat_template = t.jinja\nmin = 2\n", NULL);
    settings_given given;
    char expected[160];

    assert_string_equal(settings_string(s, "service chat", "model"), "tiny");
    assert_int_equal(settings_integer(s, "service chat", "min"), 2);
    assert_int_equal(settings_integer(s, "service chat", "max"), 1);
    assert_int_equal(settings_integer(s, "service chat", "max_model_len"), 8000);
    assert_true(settings_is_auto(s, "model", "max_model_len"));
    assert_true(settings_given_at(s, 1, &given));
    assert_string_equal(given.section, "service chat");
    assert_string_equal(given.key, "max_model_len");
    assert_string_equal(given.text, "8k");
    assert_true(settings_given_at(s, 2, &given));
    snprintf(expected, sizeof expected, "%s/t.jinja", folder);
    assert_string_equal(given.text, expected);
    assert_false(settings_given_at(s, 4, &given));
    settings_destroy(s);
    must_fail("[service chat]\npath = x\n", "t.ini:2: [service chat] has no key \"path\"; that key belongs in [registry]");
    must_fail("[service chat]\nmax_model_lem = 1\n",
              "t.ini:2: [service chat] has no key \"max_model_lem\"; did you mean \"max_model_len\"?");
    must_fail("[service chat]\nmax_num_seqs = many\n",
              "t.ini:2: [service chat] max_num_seqs: \"many\" is not auto or an integer");
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(ini, sizeof ini, "%s/t.ini", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(ini);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_apply_without_a_file),
        cmocka_unit_test(test_file_values_win_over_defaults),
        cmocka_unit_test(test_a_name_in_the_registry_is_no_path),
        cmocka_unit_test(test_overrides_win_over_the_file_and_the_last_one_over_the_first),
        cmocka_unit_test(test_lines_beyond_the_ini_library_limit_are_whole),
        cmocka_unit_test(test_every_line_length_around_the_limit_survives),
        cmocka_unit_test(test_unknown_keys_name_line_and_neighbour),
        cmocka_unit_test(test_bad_values_name_what_would_be_good),
        cmocka_unit_test(test_duplicate_keys_are_refused_also_across_sections_that_reopen),
        cmocka_unit_test(test_malformed_lines_are_refused),
        cmocka_unit_test(test_hostile_bytes_are_refused),
        cmocka_unit_test(test_bad_overrides_name_set),
        cmocka_unit_test(test_missing_file_is_an_io_error),
        cmocka_unit_test(test_plugin_sections_are_checked_against_the_plugins_table),
        cmocka_unit_test(test_plugin_paths_are_relative_to_the_file),
        cmocka_unit_test(test_sections_of_nobody_are_refused_even_when_empty),
        cmocka_unit_test(test_a_refusal_says_where_the_name_was_set),
        cmocka_unit_test(test_sections_with_a_name_of_their_own),
        cmocka_unit_test(test_a_service_takes_keys_of_its_engines),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
