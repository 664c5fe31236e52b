/* test_bad_plugins.c: each deliberately bad plugin is refused, with the whole sentence its author will read.
 *
 * In expected sentences '@' stands for the plugin's path and '~' for the folder of fixtures.
 */
#include "tests/unit/cmocka_test.h"

#include "plugin/loader.h"
#include "tenon/rendezvous.h"
#include "tests/abi/fixture_probe.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[] = "/tmp/tenon-abi-XXXXXX";

/* ---- helpers ---- */

static void fixture_path(const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s.so", FIXTURE_FOLDER, name);
}

static settings *settings_with(const char *const *more)
{
    const char *overrides[8] = {"plugins.path=" FIXTURE_FOLDER};
    for (int i = 0; more && more[i]; i++)
        overrides[i + 1] = more[i];
    settings *settings = NULL;
    tn_error err = TN_ERROR_INIT;
    if (settings_read(NULL, overrides, &settings, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return settings;
}

/* Loads in a set of its own, as a new runtime would. */
static tn_status load(const char *spec, const char *const *more, const plugin **ret_plugin, tn_error *err)
{
    settings *settings = settings_with(more);
    plugin_set *set = NULL;
    assert_int_equal(plugin_set_create(settings, &set, err), TN_OK);
    tn_status status = plugin_load(set, spec, ret_plugin, err);
    plugin_set_destroy(set);
    settings_destroy(settings);
    return status;
}

static void expand(const char *sentence, const char *path, char out[1024])
{
    size_t n = 0;
    for (; *sentence; sentence++) {
        const char *part = *sentence == '@' ? path : *sentence == '~' ? FIXTURE_FOLDER : NULL;
        n += part ? (size_t)snprintf(out + n, 1024 - n, "%s", part)
                  : (size_t)snprintf(out + n, 1024 - n, "%c", *sentence);
    }
}

static void must_refuse_spec(const char *spec, const char *path, const char *const *more, tn_status expected,
                             const char *sentence)
{
    char whole[1024];
    tn_error err = TN_ERROR_INIT;
    const plugin *plugin = NULL;
    expand(sentence, path, whole);
    tn_status status = load(spec, more, &plugin, &err);
    assert_string_equal(err.msg, whole);
    assert_int_equal(status, expected);
    assert_null(plugin);
}

static void must_refuse(const char *name, tn_status expected, const char *sentence)
{
    char path[512];
    fixture_path(name, path);
    must_refuse_spec(name, path, NULL, expected, sentence);
}

static const plugin *must_load(const char *spec, const char *const *more)
{
    tn_error err = TN_ERROR_INIT;
    const plugin *plugin = NULL;
    if (load(spec, more, &plugin, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return plugin;
}

static const fixture_probe *probe_of(const plugin *plugin)
{
    return plugin_descriptor(plugin)->get_interface("acme.probe/1");
}

/* Copies fixture `name` into a folder of the scratch directory. */
static void copy_fixture(const char *name, const char *folder, char ret_path[512])
{
    char from[512], block[4096];
    size_t n;
    fixture_path(name, from);
    snprintf(ret_path, 512, "%s/%s", scratch, folder);
    mkdir(ret_path, 0755);
    snprintf(ret_path, 512, "%s/%s/copy.so", scratch, folder);
    FILE *in = fopen(from, "rb"), *out = fopen(ret_path, "wb");
    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(block, 1, sizeof block, in)))
        assert_int_equal(fwrite(block, 1, n, out), n);
    fclose(in);
    fclose(out);
    chmod(ret_path, 0644);
}

/* ---- the good ones ---- */

static void test_a_good_plugin_loads_once_and_offers_its_table(void **state)
{
    (void)state;
    char path[512];
    const tn_quant_table *quant = NULL;
    const plugin *plugin = must_load("good", NULL);
    fixture_path("good", path);
    assert_string_equal(plugin_path(plugin), path);
    assert_string_equal(plugin_descriptor(plugin)->version, "1.2.3");
    assert_int_equal(plugin_quant(plugin, &quant, NULL), TN_OK);
    assert_int_equal(quant->struct_size, sizeof(tn_quant_table));
    assert_ptr_equal(must_load(path, NULL), plugin);
    assert_int_equal(probe_of(plugin)->inits(), 1);
    assert_ptr_equal(probe_of(plugin)->host(), plugin_host(plugin));
}

static void test_a_plugin_finds_the_services_of_its_host(void **state)
{
    (void)state;
    const tn_host *host = probe_of(must_load("good", NULL))->host();
    const tn_rendezvous_table *rendezvous = host->get_interface(host, TN_RENDEZVOUS_ID);
    tn_error err = TN_ERROR_INIT;
    tn_group group = {.struct_size = sizeof group};
    char value[8];
    uint64_t n = sizeof value;
    assert_null(host->get_interface(host, "tn.rendezvous/0:0123456789abcdef"));
    assert_int_equal(rendezvous->struct_size, sizeof *rendezvous);
    assert_int_equal(rendezvous->group(host, &group, &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "this process is in no group: set group.launcher"));
    assert_int_equal(rendezvous->put(host, "k", "v", 1, NULL), TN_E_NOT_FOUND);
    assert_int_equal(rendezvous->get(host, "k", value, &n, 1000, NULL), TN_E_NOT_FOUND);
    assert_int_equal(rendezvous->get(host, NULL, value, &n, 1000, NULL), TN_E_ARGUMENT);
    assert_int_equal(rendezvous->get(host, "k", value, NULL, 1000, NULL), TN_E_ARGUMENT);
    rendezvous->abort(host, "no one hears it");
}

static void test_a_plugin_that_is_something_else_says_what_it_provides(void **state)
{
    (void)state;
    char path[512], whole[1024];
    tn_error err = TN_ERROR_INIT;
    const tn_backend *backend = NULL;
    fixture_path("good", path);
    expand("plugin @ is not a backend: it provides " TN_QUANT_ID ", acme.probe/1, not " TN_BACKEND_ID, path, whole);
    assert_int_equal(plugin_backend(must_load("good", NULL), &backend, &err), TN_E_UNSUPPORTED);
    assert_string_equal(err.msg, whole);
    assert_null(backend);
}

static void test_a_newer_plugin_that_lives_with_an_older_core_is_accepted(void **state)
{
    (void)state;
    const tn_quant_table *quant = NULL;
    assert_int_equal(plugin_quant(must_load("newer", NULL), &quant, NULL), TN_OK);
    assert_int_equal(quant->struct_size, sizeof(tn_quant_table));
}

static void test_a_descriptor_that_ends_with_the_frozen_prefix_has_no_options(void **state)
{
    (void)state;
    const plugin *plugin = must_load("prefix_only", NULL);
    assert_int_equal(plugin_descriptor(plugin)->option_count, 0);
    assert_null(plugin_host(plugin)->config(plugin_host(plugin), "threads"));
}

static void test_unknown_interfaces_are_ignored(void **state)
{
    (void)state;
    must_load("foreign_only", NULL);
}

static void test_single_op_kernels_become_a_backend(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    tn_devinfo info = {.struct_size = sizeof info};
    const tn_backend *backend = NULL;
    if (plugin_backend(must_load("ops_only", NULL), &backend, &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(backend->device(0, &info, &err), TN_OK);
    assert_true(info.mem_total > 0);
    assert_non_null(backend->submit);
}

static void test_plugins_see_their_settings_and_defaults(void **state)
{
    (void)state;
    const char *more[] = {"configured.table=/a/b", NULL};
    const tn_host *host = plugin_host(must_load("configured", more));
    assert_string_equal(host->config(host, "threads"), "auto");
    assert_string_equal(host->config(host, "table"), "/a/b");
    assert_null(host->config(host, "undeclared"));
    assert_null(host->get_interface(host, "tn.nothing/1"));
}

static void test_a_second_runtime_with_other_settings_is_refused(void **state)
{
    (void)state;
    const char *two[] = {"good.threads=2", NULL};
    must_load("good", NULL);
    must_refuse_spec(
        "good", "", two, TN_E_ARGUMENT,
        "plugin good is already loaded in this process with threads = auto, not 2; a process has one copy of "
        "a plugin, so give both runtimes the same value");
}

/* ---- versions and descriptors ---- */

static void test_wrong_versions_print_both_ranges(void **state)
{
    (void)state;
    must_refuse(
        "wrong_major", TN_E_UNSUPPORTED,
        "plugin @: built for ABI major 7 (7.1 to 7.2), this core has major 1 (1.2, plugins from 1.1 on): rebuild it "
        "against the installed SDK");
    must_refuse(
        "needs_newer_core", TN_E_UNSUPPORTED,
        "plugin @: needs a core of ABI 1.9 or newer (built with 1.9), this core is 1.2 and takes plugins from 1.1 "
        "on: upgrade Tenon, or get an older build of the plugin");
    must_refuse("too_old", TN_E_UNSUPPORTED,
                "plugin @: built with ABI 1.0 (for cores from 1.0 on), this core is 1.2 and takes plugins from 1.1 on: "
                "rebuild it against the installed SDK");
    must_refuse(
        "old_draft", TN_E_UNSUPPORTED,
        "plugin @: its tn.quant/0:0123456789abcdef is a draft of what is tn.quant/1 since: rebuild it against the "
        "installed SDK");
}

static void test_descriptors_that_break_their_form_are_refused(void **state)
{
    (void)state;
    must_refuse(
        "no_symbol", TN_E_ARGUMENT,
        "plugin @ does not export tn_plugin_entry, the one symbol of a Tenon plugin: declare it TN_EXPORT and link "
        "with the SDK's plugin.map");
    must_refuse("no_descriptor", TN_E_ARGUMENT, "plugin @: tn_plugin_entry returned NULL instead of its descriptor");
    must_refuse(
        "bad_magic", TN_E_ARGUMENT,
        "plugin @: its descriptor begins with 0x0badf00d, not with TN_PLUGIN_MAGIC (0x4e4e4554): this is not a Tenon "
        "plugin");
    must_refuse("short_prefix", TN_E_ARGUMENT,
                "plugin @: its descriptor has struct_size 40, less than the 88 bytes every plugin has: set it to "
                "sizeof(tn_plugin)");
    must_refuse("sets_flags", TN_E_ARGUMENT, "plugin @: its descriptor sets flags or reserved members: they must be 0");
    must_refuse("no_vendor", TN_E_ARGUMENT,
                "plugin @: its descriptor lacks id, version, vendor or license: all four are mandatory strings");
    must_refuse("bad_id", TN_E_ARGUMENT, "plugin @: its id \"Bad-Id\" must consist of a-z, 0-9 and _");
    must_refuse("bad_stride", TN_E_ARGUMENT, "plugin @: its descriptor has an option_stride below sizeof(tn_option)");
}

static void test_tables_with_holes_are_refused(void **state)
{
    (void)state;
    must_refuse(
        "short_table", TN_E_ARGUMENT,
        "plugin @: its tn.quant/1 table has struct_size 32 and so ends before `produces`, which is mandatory: set "
        "struct_size to the sizeof the table and fill in that member");
    must_refuse("empty_table", TN_E_ARGUMENT,
                "plugin @: its tn.quant/1 table has struct_size 4 and so ends before `open`, which is mandatory: set "
                "struct_size to the sizeof the table and fill in that member");
    must_refuse(
        "cut_table", TN_E_ARGUMENT,
        "plugin @: its tn.quant/1 table has struct_size 36 and so ends before `produces`, which is mandatory: set "
        "struct_size to the sizeof the table and fill in that member");
    must_refuse("missing_member", TN_E_ARGUMENT,
                "plugin @: its tn.quant/1 table lacks `produces`, which is mandatory: implement it");
    must_refuse("no_table", TN_E_ARGUMENT,
                "plugin @: lists " TN_QUANT_ID
                " in `provides`, but its get_interface returns NULL for it: return the table "
                "or drop the id");
}

static void test_a_failing_init_passes_its_own_words_on(void **state)
{
    (void)state;
    must_refuse("init_fails", TN_E_UNSUPPORTED, "plugin @: its init failed: no licence dongle in slot 3");
}

static void test_ids_that_clash_are_refused(void **state)
{
    (void)state;
    char good[512], sentence[1024];
    must_load("good", NULL);
    fixture_path("good", good);
    snprintf(sentence, sizeof sentence,
             "plugin @ has the id \"good\", which %s already has; ids are unique in a process: load one of the two, or "
             "rename one",
             good);
    must_refuse("twin", TN_E_ARGUMENT, sentence);
    must_refuse("reserved_id", TN_E_ARGUMENT,
                "plugin @: its id \"engine\" is the name of a section of the core's settings: choose another id");
}

static void test_a_file_that_was_replaced_asks_for_a_new_process(void **state)
{
    (void)state;
    char path[512];
    copy_fixture("replaced", "update", path);
    must_load(path, NULL);
    unlink(path);
    copy_fixture("replaced", "update", path);
    must_refuse_spec(path, path, NULL, TN_E_ARGUMENT,
                     "plugin @ was replaced since this process loaded it: start the process anew");
}

static void test_undeclared_and_ill_typed_options_are_refused(void **state)
{
    (void)state;
    const char *unknown[] = {"optioned.thread=2", NULL}, *ill_typed[] = {"optioned.threads=many", NULL};
    must_refuse_spec("optioned", "", unknown, TN_E_ARGUMENT,
                     "--set: plugin \"optioned\" has no key \"thread\"; did you mean \"threads\"?");
    must_refuse_spec("optioned", "", ill_typed, TN_E_ARGUMENT,
                     "--set: [optioned] threads: \"many\" is not auto or an integer");
}

/* ---- files ---- */

static void test_specs_that_name_no_loadable_file_are_refused(void **state)
{
    (void)state;
    must_refuse_spec(
        "./good.so", "", NULL, TN_E_ARGUMENT,
        "plugin ./good.so: relative paths are not accepted; give an absolute path, or a bare name to look up "
        "in ~");
    must_refuse_spec(
        "good.so", "", NULL, TN_E_ARGUMENT,
        "plugin good.so: relative paths are not accepted; give an absolute path, or a bare name to look up in "
        "~");
    must_refuse_spec(
        "stranger", "", NULL, TN_E_NOT_FOUND,
        "there is no plugin \"stranger\": ~/stranger.so does not exist; install it there, give an absolute path, "
        "or set [plugins] path");
    must_refuse_spec(
        "goood", "", NULL, TN_E_NOT_FOUND,
        "there is no plugin \"goood\"; did you mean \"good\"? If not: ~/goood.so does not exist; install it there, "
        "give an absolute path, or set [plugins] path");
    must_refuse_spec("/nowhere/x.so", "/nowhere/x.so", NULL, TN_E_NOT_FOUND, "plugin @ does not exist");
    must_refuse_spec("", "", NULL, TN_E_ARGUMENT,
                     "a plugin is named by its bare name or by an absolute path, not by \"\"");
    must_refuse_spec(scratch, scratch, NULL, TN_E_ARGUMENT, "plugin @ is not a regular file");
}

static void test_a_file_that_is_no_library_is_refused(void **state)
{
    (void)state;
    char path[512];
    copy_fixture("good", "text", path);
    FILE *file = fopen(path, "wb");
    fputs("not a library", file);
    fclose(file);
    must_refuse_spec(path, path, NULL, TN_E_ARGUMENT,
                     "plugin @ is not a shared library (no ELF header); name the built .so file");
}

static void test_missing_symbols_are_named(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    const plugin *plugin = NULL;
    assert_int_equal(load("undefined_symbol", NULL, &plugin, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "undefined symbol: fixture_symbol_that_nobody_defines"));
    assert_non_null(strstr(err.msg, "-Wl,-z,defs"));
}

static void test_files_that_others_can_write_are_refused(void **state)
{
    (void)state;
    char path[512], sentence[1200];
    copy_fixture("good", "file", path);
    chmod(path, 0646);
    must_refuse_spec(path, path, NULL, TN_E_ARGUMENT,
                     "plugin @ is a file that others can write to (@, mode 0646): chmod go-w @");
    chmod(path, 0644);
    snprintf(sentence, sizeof sentence,
             "plugin @ lies in a folder that others can write to (%s/file, mode 0777): chmod go-w %s/file", scratch,
             scratch);
    char folder[512];
    snprintf(folder, sizeof folder, "%s/file", scratch);
    chmod(folder, 0777);
    must_refuse_spec(path, path, NULL, TN_E_ARGUMENT, sentence);
    chmod(folder, 0755);
}

static void test_a_sticky_folder_is_a_fine_parent(void **state)
{
    (void)state;
    char path[512], folder[512];
    copy_fixture("copied", "sticky", path);
    snprintf(folder, sizeof folder, "%s/sticky", scratch);
    chmod(folder, 01777);
    must_load(path, NULL);
}

static void test_files_of_other_users_are_refused(void **state)
{
    (void)state;
    char path[512];
    copy_fixture("good", "foreign", path);
    if (chown(path, 12345, 0))
        skip();
    must_refuse_spec(
        path, path, NULL, TN_E_ARGUMENT,
        "plugin @ is a file that uid 12345 owns (@); it must belong to root or to uid 0, who runs Tenon: chown "
        "it");
}

static void test_a_pin_must_match(void **state)
{
    (void)state;
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    char path[512], spec[700], actual[65], command[600];
    fixture_path("good", path);
    snprintf(command, sizeof command, "sha256sum %s", path);
    FILE *sum = popen(command, "r");
    assert_int_equal(fread(actual, 1, 64, sum), 64);
    actual[64] = 0;
    pclose(sum);

    snprintf(spec, sizeof spec, "good  sha256=%s", actual);
    must_load(spec, NULL);
    snprintf(spec, sizeof spec, "%s sha256=%s", path, actual);
    must_load(spec, NULL);
    snprintf(spec, sizeof spec, "good sha256=%s", zeros);
    char sentence[600];
    snprintf(sentence, sizeof sentence,
             "plugin @ is not the pinned file: its sha256 is %s, the settings ask for %s; if you replaced it yourself, "
             "update the pin",
             actual, zeros);
    must_refuse_spec(spec, path, NULL, TN_E_ARGUMENT, sentence);
    must_refuse_spec("good sha256=12", "", NULL, TN_E_ARGUMENT,
                     "plugin good sha256=12: sha256= takes exactly 64 hexadecimal digits");
}

static int make_scratch(void **state)
{
    (void)state;
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", scratch);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_plugin_loads_once_and_offers_its_table),
        cmocka_unit_test(test_a_plugin_finds_the_services_of_its_host),
        cmocka_unit_test(test_a_plugin_that_is_something_else_says_what_it_provides),
        cmocka_unit_test(test_a_newer_plugin_that_lives_with_an_older_core_is_accepted),
        cmocka_unit_test(test_a_descriptor_that_ends_with_the_frozen_prefix_has_no_options),
        cmocka_unit_test(test_unknown_interfaces_are_ignored),
        cmocka_unit_test(test_single_op_kernels_become_a_backend),
        cmocka_unit_test(test_plugins_see_their_settings_and_defaults),
        cmocka_unit_test(test_a_second_runtime_with_other_settings_is_refused),
        cmocka_unit_test(test_wrong_versions_print_both_ranges),
        cmocka_unit_test(test_descriptors_that_break_their_form_are_refused),
        cmocka_unit_test(test_tables_with_holes_are_refused),
        cmocka_unit_test(test_a_failing_init_passes_its_own_words_on),
        cmocka_unit_test(test_ids_that_clash_are_refused),
        cmocka_unit_test(test_a_file_that_was_replaced_asks_for_a_new_process),
        cmocka_unit_test(test_undeclared_and_ill_typed_options_are_refused),
        cmocka_unit_test(test_specs_that_name_no_loadable_file_are_refused),
        cmocka_unit_test(test_a_file_that_is_no_library_is_refused),
        cmocka_unit_test(test_missing_symbols_are_named),
        cmocka_unit_test(test_files_that_others_can_write_are_refused),
        cmocka_unit_test(test_a_sticky_folder_is_a_fine_parent),
        cmocka_unit_test(test_files_of_other_users_are_refused),
        cmocka_unit_test(test_a_pin_must_match),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
