/* args.c: flags from a table: parsed, checked, and explained by --help. */
#include "base/edit_distance.h"
#include "cli/command.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FLAGS_MAX = 32 };

static const flag *find_flag(const flag *flags, uint32_t count, const char *name, size_t bytes)
{
    for (uint32_t i = 0; i < count; i++)
        if (strlen(flags[i].name) == bytes && memcmp(flags[i].name, name, bytes) == 0)
            return &flags[i];
    return NULL;
}

static void print_help(const command *command, const flag *flags, uint32_t count)
{
    printf("usage: tenon %s [FLAGS] %s\n\n%s\n\nflags:\n", command->name, command->arguments, command->help);
    for (uint32_t i = 0; i < count; i++) {
        char left[40];
        snprintf(left, sizeof left, "%s%s %s", flags[i].name[1] ? "--" : "-", flags[i].name,
                 flags[i].value ? flags[i].value : "");
        printf("  %-26s %s\n", left, flags[i].help);
    }
    if (command->settings == SETTINGS_OF_FLAGS)
        printf("  %-26s %s\n", "--config FILE.ini", "settings file");
    if (command->settings != SETTINGS_UNREAD && !find_flag(flags, count, "set", 3))
        printf("  %-26s %s\n", "--set SECTION.KEY=VALUE", "one setting, over the file; may be repeated");
    printf("  %-26s %s\n", "--help", "this text");
}

static int usage_error(const command *command, const char *what, const char *which)
{
    fprintf(stderr, "tenon %s: %s%s; `tenon %s --help` explains it\n", command->name, what, which, command->name);
    return EXIT_USAGE;
}

static int bad_value(const command *command, const flag *flag, const char *value)
{
    if (flag->kind == FLAG_STRINGS)
        return usage_error(command, "too many of --", flag->name);
    fprintf(stderr, "tenon %s: --%s '%s' is not a number; `tenon %s --help` explains it\n", command->name, flag->name,
            value, command->name);
    return EXIT_USAGE;
}

static int unknown_flag(const command *command, const flag *flags, uint32_t count, const char *name)
{
    const char *names[FLAGS_MAX + 3] = {"help", "set", "config"};
    const uint32_t common = 1 + (command->settings != SETTINGS_UNREAD) + (command->settings == SETTINGS_OF_FLAGS);
    for (uint32_t i = 0; i < count; i++)
        names[i + common] = flags[i].name;
    const char *nearest = nearest_name(name, names, count + common);

    fprintf(stderr, "tenon %s: unknown flag --%s", command->name, name);
    if (nearest)
        fprintf(stderr, "; did you mean --%s?", nearest);
    fprintf(stderr, " (`tenon %s --help` lists them)\n", command->name);
    return EXIT_USAGE;
}

void args_set(args *args, const char *name, const char *value)
{
    size_t bytes = strlen(name) + strlen(value) + 2;
    char *text = malloc(bytes);
    TN_ASSERT(text && args->set_count < ARGS_SETS_MAX);
    snprintf(text, bytes, "%s=%s", name, value);
    args->owned[args->owned_count++] = text;
    args->sets[args->set_count++] = text;
}

/* Stores a value in its target; false: not of the flag's kind. */
static bool store(const flag *flag, const char *value, args *args)
{
    char *end = NULL;

    errno = 0;
    switch (flag->kind) {
    case FLAG_SWITCH:
        *(bool *)flag->target = true;
        return true;
    case FLAG_STRING:
        *(const char **)flag->target = value;
        return true;
    case FLAG_STRINGS: {
        string_list *list = flag->target;
        if (list->count == STRINGS_MAX)
            return false;
        list->at[list->count++] = value;
        return true;
    }
    case FLAG_SETTING:
        args_set(args, flag->setting, value);
        return true;
    case FLAG_INTEGER:
        *(int64_t *)flag->target = strtoll(value, &end, 10);
        break;
    case FLAG_NUMBER:
        *(double *)flag->target = strtod(value, &end);
        break;
    }
    return end != value && *end == '\0' && errno == 0 &&
           (flag->kind != FLAG_NUMBER || isfinite(*(double *)flag->target));
}

/* One "--name[=value]"; *at is its index and is moved past a value in the next word. */
static int parse_flag(const command *command, const flag *flags, uint32_t count, int argc, char **argv, int *at,
                      args *args)
{
    const char *name = argv[*at] + (argv[*at][1] == '-' ? 2 : 1);
    const char *equals = strchr(name, '=');
    size_t bytes = equals ? (size_t)(equals - name) : strlen(name);
    const char *set = NULL;
    const flag common[] = {{"set", "", FLAG_STRING, &set, NULL, ""}, {"config", "", FLAG_STRING, &args->ini, NULL, ""}};
    const uint32_t common_count =
        command->settings == SETTINGS_OF_FLAGS ? 2 : command->settings == SETTINGS_OF_ARGUMENT;
    const flag *found = find_flag(flags, count, name, bytes);

    if (!found)
        found = find_flag(common, common_count, name, bytes);
    if (!found)
        return unknown_flag(command, flags, count, name);
    if (found->kind == FLAG_SWITCH && equals)
        return usage_error(command, "no value goes with --", found->name);
    const char *value = equals ? equals + 1 : NULL;
    if (found->kind != FLAG_SWITCH && !value) {
        if (*at + 1 >= argc)
            return usage_error(command, "a value is missing after --", found->name);
        value = argv[++*at];
    }
    if (args->set_count == ARGS_SETS_GIVEN_MAX)
        return usage_error(command, "too many settings at --", found->name);
    if (!store(found, value, args))
        return bad_value(command, found, value);
    if (set)
        args->sets[args->set_count++] = set;
    return -1;
}

/* "-h" too, as everywhere, where it is no flag of the command's own. */
static bool asks_for_help(const flag *flags, uint32_t count, const char *word)
{
    return strcmp(word, "--help") == 0 || (strcmp(word, "-h") == 0 && !find_flag(flags, count, "h", 1));
}

int args_parse(const command *command, const flag *flags, uint32_t count, int argc, char **argv, args *ret_args)
{
    args args = {0};
    int code = -1;
    bool only_words = false;

    TN_ASSERT(count <= FLAGS_MAX);
    for (int i = 0; i < argc && code < 0; i++) {
        bool is_letter = argv[i][0] == '-' && argv[i][1] && argv[i][1] != '-' && !argv[i][2] &&
                         find_flag(flags, count, argv[i] + 1, 1);
        bool is_flag = !only_words && (is_letter || strncmp(argv[i], "--", 2) == 0);
        if (is_flag && !is_letter && argv[i][2] == '\0') {
            only_words = true;
        } else if (!only_words && asks_for_help(flags, count, argv[i])) {
            print_help(command, flags, count);
            code = 0;
        } else if (is_flag) {
            code = parse_flag(command, flags, count, argc, argv, &i, &args);
        } else if (args.positional_count == command->positional_max) {
            code = usage_error(command, "one argument too many: ", argv[i]);
        } else {
            args.positional[args.positional_count++] = argv[i];
        }
    }
    if (code < 0 && args.positional_count < command->positional_min)
        code = usage_error(command, "arguments are missing: ", command->arguments);
    if (code >= 0) {
        args_finish(&args);
        return code;
    }
    *ret_args = args;
    return -1;
}

int args_take_ini(const command *command, args *args)
{
    if (!args->positional_count)
        return -1;
    if (args->ini) {
        int code = usage_error(command, "two settings files are given, that of --config and ", args->positional[0]);
        args_finish(args);
        return code;
    }
    args->ini = args->positional[0];
    return -1;
}

void args_finish(args *args)
{
    for (uint32_t i = 0; i < args->owned_count; i++)
        free(args->owned[i]);
    args->owned_count = 0;
}
