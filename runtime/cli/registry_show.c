/* registry_show.c: `tenon registry list`, `show` and `verify`: answers, for people or as JSON. */
#include "cli/registry.h"

#include <string.h>

/* What the registry says to the command's argument (NULL: it has none), as lines or as JSON. */
static int run_question(const command *command, int argc, char **argv, const char *json_help,
                        tn_status (*ask)(registry *, const char *, json_t **, tn_error *),
                        void (*print)(const json_t *))
{
    bool json = false;
    const flag flags[] = {{"json", NULL, FLAG_SWITCH, &json, NULL, json_help}};
    args a;
    registry *registry = NULL;
    json_t *answer = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, 1, argc, argv, &a);

    if (code >= 0)
        return code;
    if (!open_registry(&a, false, &registry)) {
        code = EXIT_FAILURE;
    } else if (ask(registry, a.positional_count ? a.positional[0] : NULL, &answer, &err) != TN_OK) {
        code = report(&err);
    } else {
        (json ? print_json : print)(answer);
        code = 0;
    }
    json_decref(answer);
    registry_close(registry);
    args_finish(&a);
    return code;
}

/* ---- list ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_version_line(const json_t *model, const json_t *version)
{
    char size[32], name[2 * NAME_BYTES_MAX + 2];
    bool chosen = strcmp(text_of(model, "default"), text_of(version, "version")) == 0;
    size_t index;
    json_t *alias;

    snprintf(name, sizeof name, "%s@%s", text_of(model, "name"), text_of(version, "version"));
    plan_format_bytes((uint64_t)json_integer_value(json_object_get(version, "bytes")), size);
    printf("%-32s %10s  %.12s  %s%s", name, size, text_of(version, "digest"), text_of(version, "created"),
           chosen ? "  default" : "");
    json_array_foreach(json_object_get(version, "aliases"), index, alias) printf("  :%s", json_string_value(alias));
    if (*text_of(version, "comment")) {
        printf("  ");
        print_plain(stdout, text_of(version, "comment"));
    }
    putchar('\n');
}

static void print_list(const json_t *list)
{
    size_t i, j;
    json_t *model, *version;

    json_array_foreach(json_object_get(list, "models"), i, model)
        json_array_foreach(json_object_get(model, "versions"), j, version) print_version_line(model, version);
}

static int run_list(const command *command, int argc, char **argv)
{
    return run_question(command, argc, argv, "as one JSON object", registry_list, print_list);
}

const command command_registry_list = {
    .name = "registry list",
    .arguments = "[NAME]",
    .summary = "models and their versions",
    .help =
        "One line for each version: size, the beginning of its digest, time, :ALIAS for each alias, and its comment.",
    .positional_max = 1,
    .run = run_list,
};

/* ---- show ---- */

static void print_line(const char *key, const char *value)
{
    if (!*value)
        return;
    printf("%-14s ", key);
    print_plain(stdout, value);
    putchar('\n');
}

static void print_pairs(const char *name, const json_t *pairs)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)pairs, key, value)
    {
        printf("%-14s %s=", name, key);
        if (json_is_number(value))
            printf("%.17g", json_number_value(value));
        else
            print_plain(stdout, json_string_value(value));
        putchar('\n');
    }
}

static void print_bytes(const char *key, const json_t *bytes)
{
    char size[32];
    plan_format_bytes((uint64_t)json_integer_value(bytes), size);
    printf("%-14s %s\n", key, size);
}

static void print_manifest(const json_t *manifest)
{
    const json_t *model = json_object_get(manifest, "model"), *source = json_object_get(manifest, "source");
    static const char *const model_keys[] = {"container", "architecture", "license"};
    static const char *const source_keys[] = {"kind", "path", "repository", "revision"};
    const char *type;
    size_t index;
    json_t *bytes, *file;

    for (size_t i = 0; i < sizeof model_keys / sizeof *model_keys; i++)
        print_line(model_keys[i], text_of(model, model_keys[i]));
    json_object_foreach(json_object_get(model, "dtypes"), type, bytes) print_bytes(type, bytes);
    for (size_t i = 0; i < sizeof source_keys / sizeof *source_keys; i++) {
        char key[32];
        snprintf(key, sizeof key, "from %s", source_keys[i]);
        print_line(key, text_of(source, source_keys[i]));
    }
    json_array_foreach(json_object_get(manifest, "files"), index, file)
    {
        char size[32];
        plan_format_bytes((uint64_t)json_integer_value(json_object_get(file, "bytes")), size);
        printf("file           %.12s  %10s  ", text_of(file, "sha256"), size);
        print_plain(stdout, text_of(file, "name"));
        putchar('\n');
    }
}

static void print_version(const json_t *version)
{
    size_t index;
    json_t *alias;

    printf("%s@%s\n", text_of(version, "name"), text_of(version, "version"));
    printf("digest         sha256:%s\n", text_of(version, "digest"));
    print_bytes("size", json_object_get(version, "bytes"));
    print_line("created", text_of(version, "created"));
    json_array_foreach(json_object_get(version, "aliases"), index, alias) print_line("alias", json_string_value(alias));
    print_line("task", text_of(version, "task"));
    print_line("comment", text_of(version, "comment"));
    print_pairs("tag", json_object_get(version, "tags"));
    print_pairs("metric", json_object_get(version, "metrics"));
    print_line("path", text_of(version, "path"));
    print_manifest(json_object_get(version, "manifest"));
}

static int run_show(const command *command, int argc, char **argv)
{
    return run_question(command, argc, argv, "as one JSON object, the manifest in it", registry_show, print_version);
}

const command command_registry_show = {
    .name = "registry show",
    .arguments = "NAME[@VERSION|:ALIAS]",
    .summary = "one version: names, notes, what it holds and its files",
    .help = "The path is an ordinary file or directory that any program may read, and none should write.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_show,
};
