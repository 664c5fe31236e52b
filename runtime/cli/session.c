/* session.c: settings and instance of a command, and the input it reads. */
#include "cli/command.h"

#include "instance/model_path.h"
#include "registry/name_rule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_BYTES_MAX = 256 << 20 };

void print_plain(FILE *to, const char *text)
{
    for (; *text; text++) {
        bool control = is_control_character(text);
        putc(control ? '?' : *text, to);
        text += control && (unsigned char)*text == 0xc2 && text[1]; /* two bytes */
    }
}

/* A message may quote files, bundles and hubs. */
int report(const tn_error *err)
{
    fputs("tenon: ", stderr);
    print_plain(stderr, err->msg);
    fputc('\n', stderr);
    return EXIT_FAILURE;
}

static tn_status load(instance *in, tn_error *err)
{
    weights_progress progress = progress_start("loading", NULL);
    tn_status status = instance_load(in, &progress, err);
    progress_finish();
    if (status != TN_OK)
        return status;
    progress = progress_start("warming up", "batch sizes");
    status = instance_warm_up(in, &progress, err);
    progress_finish();
    return status;
}

static tn_status run_stage(session *session, stage stage, tn_error *err)
{
    instance *in = &session->instance;
    switch (stage) {
    case STAGE_PLUGINS:
        return instance_load_plugins(in, false, err);
    case STAGE_TOKENIZER:
        return instance_open_tokenizer(in, err);
    case STAGE_MODEL:
        return instance_open_model(in, err);
    case STAGE_PLAN:
        return instance_make_plan(in, err);
    case STAGE_LOADED:
        return load(in, err);
    case STAGE_ENGINE:
        return instance_start(in, err);
    }
    return TN_E_INTERNAL;
}

tn_status session_advance(session *session, stage from, stage to, tn_error *err)
{
    tn_status status = TN_OK;
    for (int next = (int)from + 1; next <= (int)to && status == TN_OK; next++)
        status = run_stage(session, (stage)next, err);
    return status;
}

int session_open(session *session, args *args, stage stage)
{
    tn_error err = TN_ERROR_INIT;

    memset(session, 0, sizeof *session);
    tn_status status = settings_read(args->ini, args->sets, &session->settings, &err);
    instance_init(&session->instance, session->settings);
    if (status == TN_OK)
        status = run_stage(session, STAGE_PLUGINS, &err);
    if (status == TN_OK)
        status = session_advance(session, STAGE_PLUGINS, stage, &err);
    if (status == TN_OK)
        return -1;
    session_close(session);
    args_finish(args);
    return report(&err);
}

void session_close(session *session)
{
    instance_close(&session->instance);
    settings_destroy(session->settings);
    session->settings = NULL;
}

tn_status find_model(const args *args, const char *text, char **ret_path, tn_error *err)
{
    settings *settings = NULL;
    char *name = NULL;
    tn_status status = settings_read(args->ini, args->sets, &settings, err);

    if (status == TN_OK)
        status = model_path_find(settings, text, ret_path, &name, err);
    free(name);
    settings_destroy(settings);
    return status;
}

char *read_input(const char *path, uint64_t *ret_bytes)
{
    FILE *file = path ? fopen(path, "rb") : stdin;
    size_t capacity = 1 << 16, bytes = 0;
    char *text = file ? malloc(capacity + 1) : NULL;

    if (!file) {
        fprintf(stderr, "tenon: %s: %s\n", path, strerror(errno));
        return NULL;
    }
    while (text) {
        bytes += fread(text + bytes, 1, capacity - bytes, file);
        if (bytes < capacity)
            break;
        capacity *= 2;
        char *grown = capacity <= INPUT_BYTES_MAX ? realloc(text, capacity + 1) : NULL;
        if (!grown)
            free(text);
        text = grown;
    }
    bool failed = ferror(file);
    if (path)
        fclose(file);
    if (!text || failed) {
        fprintf(stderr, "tenon: %s: %s\n", path ? path : "standard input",
                failed ? "cannot be read" : "is larger than 256 MiB");
        free(text);
        return NULL;
    }
    text[bytes] = '\0';
    *ret_bytes = bytes;
    return text;
}

int32_t *tokenize_text(const instance *in, const char *text, uint64_t bytes, uint32_t flags, uint64_t *ret_count)
{
    tn_error err = TN_ERROR_INIT;
    uint64_t count = bytes + 16;
    int32_t *ids = malloc(count * sizeof *ids);

    tn_status status =
        ids ? TN_OK : tn_fail(&err, TN_E_MEMORY, "out of memory for %llu tokens", (unsigned long long)count);
    if (status == TN_OK)
        status = in->tokenizer->encode(in->tok, text, bytes, flags, ids, &count, &err);
    if (status != TN_OK) {
        free(ids);
        report(&err);
        return NULL;
    }
    *ret_count = count;
    return ids;
}
