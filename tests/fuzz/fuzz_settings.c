/* fuzz_settings.c: the input is a settings file, and then a --set argument. What is accepted is also read, so that
 * every accessor sees every value that passed.
 */
#include "settings/settings.h"

#include <string.h>
#include <unistd.h>

static const tn_option options[] = {
    {sizeof(tn_option), 0, "threads", "auto|integer", "auto", "Threads."},
    {sizeof(tn_option), 0, "table", "path", NULL, "A file."},
    {sizeof(tn_option), 0, "share", "number|off", NULL, "A share."},
};

/* One file of this process, rewritten for each input. */
static const char *scratch_file(void)
{
    static char path[64];
    if (!*path)
        snprintf(path, sizeof path, "%s/tenon-fuzz-%d.ini", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
                 (int)getpid());
    return path;
}

static void remove_scratch_file(void)
{
    unlink(scratch_file());
}

static void read_all(const settings *settings)
{
    for (uint32_t i = 0; i < settings_option_count; i++) {
        const settings_option *option = &settings_options[i];
        const char *text = settings_string(settings, option->section, option->key);
        TN_ASSERT(text || !option->default_value);
        bool automatic = !strncmp(option->type, "auto", 4) && settings_is_auto(settings, option->section, option->key);
        if (strstr(option->type, "bool"))
            settings_bool(settings, option->section, option->key);
        if (text && !automatic && (strstr(option->type, "integer") || strstr(option->type, "size"))) {
            double number = (double)settings_integer(settings, option->section, option->key);
            TN_ASSERT(number >= option->min && number <= option->max);
        }
        if (strstr(option->type, "path"))
            TN_ASSERT(!text || *text == '/');
    }
}

static void check(const char *path, const char *const *overrides)
{
    static const char *const ids[] = {"fuzzed", NULL};
    tn_error err = TN_ERROR_INIT;
    settings *settings = NULL;
    tn_status status = settings_read(path, overrides, &settings, &err);
    TN_ASSERT((status == TN_OK) == (settings != NULL));
    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    if (status != TN_OK)
        return;
    read_all(settings);
    settings_check_plugin(settings, "fuzzed", options, 3, sizeof(tn_option), &err);
    settings_check_sections(settings, ids, true, &err);
    settings_destroy(settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static bool registered;
    if (!registered)
        registered = atexit(remove_scratch_file) == 0;
    FILE *file = fopen(scratch_file(), "wb");
    TN_ASSERT(file && fwrite(bytes, 1, n, file) == n && fclose(file) == 0);
    check(scratch_file(), NULL);

    char *override = malloc(n + 1);
    TN_ASSERT(override);
    memcpy(override, bytes, n);
    override[n] = 0;
    check(NULL, (const char *[]){override, NULL});
    free(override);
    return 0;
}
