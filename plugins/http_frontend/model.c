/* model.c: see model.h. */
#include "model.h"

#include "poller.h"

#include <inttypes.h>
#include <string.h>

enum { EVENT_QUEUE_CAP = 8192, LOADING_S = 5 };

/* ---- what we know of one ---- */

/* FNV-1a over what makes answers comparable: version, architecture, model. */
static void write_fingerprint(http_model *model)
{
    const char *const parts[] = {HTTP_FRONTEND_VERSION, model->info.architecture, model->info.model_path};
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (const char *byte = parts[i] ? parts[i] : ""; *byte; byte++)
            hash = (hash ^ (unsigned char)*byte) * UINT64_C(0x100000001b3);
    snprintf(model->fingerprint, sizeof model->fingerprint, "fp_%016" PRIx64, hash);
}

static uint64_t longest_token(const http_model *model)
{
    uint64_t longest = 1;
    for (uint32_t id = 0; id < model->info.vocab_size; id++) {
        uint64_t bytes = 0; /* no room: the call says how much it needs */
        char none[1];
        model->tok_api->piece(model->tok, (int32_t)id, 0, 0, none, &bytes, NULL);
        longest = bytes > longest ? bytes : longest;
    }
    return longest;
}

static tn_status open_model(http_model *model, tn_error *err)
{
    const tn_engine_table *api = model->front->engine_api;
    model->info.struct_size = sizeof model->info;
    tn_status status = api->info(model->engine, &model->info);
    if (status != TN_OK)
        return tn_fail(err, status, "http_frontend: the engine tells no limits: %s", tn_status_text(status));
    model->tok_api = api->tokenizer(model->engine, &model->tok);
    TN_ASSERT(model->tok_api && model->info.served_names && model->info.served_names[0]);
    write_fingerprint(model);
    model->token_bytes_max = longest_token(model);
    status = special_texts_read(model->tok_api, model->tok, model->info.vocab_size, &model->specials, err);
    if (status == TN_OK)
        status = api->client_open(model->engine, EVENT_QUEUE_CAP, &model->client, err);
    return status;
}

/* Half-open ones are fine. */
static void destroy_model(http_model *model)
{
    tn_front *front = model->front;
    if (model->client)
        front->engine_api->client_close(model->client);
    front->models_api->release(front->models, model->engine);
    special_texts_finish(&model->specials);
    byte_buffer_finish(&model->piece);
    free(model);
}

/* ---- finding ---- */

static void add_name(tn_front *front, tn_engine *engine, const tn_engine_info *info, void *ctx)
{
    byte_buffer *names = ctx;
    (void)front, (void)engine;
    byte_buffer_print(names, "%s'%.128s'", names->count ? ", " : "", info->served_names[0]);
}

/* The only engine there is. */
static tn_status find_only(tn_front *front, tn_engine **ret_engine, api_error *error)
{
    tn_engine *engine, *second;
    byte_buffer names = {0};
    if (front->models_api->at(front->models, 0, &engine) != TN_OK)
        return api_fail(error, 404, "model_not_found", "model", "this server has no model yet");
    if (front->models_api->at(front->models, 1, &second) != TN_OK) {
        *ret_engine = engine;
        return TN_OK;
    }
    front->models_api->release(front->models, engine);
    front->models_api->release(front->models, second);
    models_visit(front, add_name, &names);
    byte_buffer_append(&names, "", 1);
    api_fail(error, 404, "model_not_found", "model", "'model' is required: this server has %s",
             names.failed ? "several" : names.bytes);
    byte_buffer_finish(&names);
    return TN_E_ARGUMENT;
}

static tn_status find_named(tn_front *front, const char *name, tn_engine **ret_engine, api_error *error)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = front->models_api->find(front->models, name, ret_engine, &err);
    if (status == TN_OK)
        return TN_OK;
    if (status == TN_E_NOT_FOUND)
        return api_fail(error, 404, "model_not_found", "model", "%s", err.msg);
    if (status != TN_E_AGAIN)
        return api_fail_status(error, status, err.msg, 0);
    api_fail(error, 503, "model_loading", "model", "%s", err.msg);
    error->retry_after = LOADING_S;
    return TN_E_ARGUMENT;
}

/* Under lock. */
static http_model *hold(tn_front *front, const tn_engine *engine)
{
    http_model *model = front->models_open;
    while (model && model->engine != engine)
        model = model->next;
    if (model)
        model->user_count++;
    return model;
}

/* Takes over the hold on the engine. */
static tn_status make_model(tn_front *front, tn_engine *engine, http_model **ret_model, tn_error *err)
{
    http_model *model = calloc(1, sizeof *model);
    if (!model) {
        front->models_api->release(front->models, engine);
        return tn_fail(err, TN_E_MEMORY, "out of memory for a model");
    }
    model->front = front;
    model->engine = engine;
    tn_status status = open_model(model, err);
    if (status != TN_OK) {
        destroy_model(model);
        return status;
    }
    front_lock(front);
    http_model *other = hold(front, engine); /* two requests at once may be the first */
    if (!other) {
        model->user_count = 1;
        model->id = ++front->next_model_id;
        status = poller_watch_model(front, model, err); /* its events are taken once the lock is released */
        if (status == TN_OK) {
            model->next = front->models_open;
            front->models_open = model;
        }
    }
    front_unlock(front);
    if (other || status != TN_OK)
        destroy_model(model);
    *ret_model = other ? other : model;
    return status;
}

tn_status model_find(tn_front *front, const char *name, http_model **ret_model, api_error *error)
{
    tn_engine *engine;
    tn_error err = TN_ERROR_INIT;
    tn_status status = name ? find_named(front, name, &engine, error) : find_only(front, &engine, error);
    if (status != TN_OK)
        return status;
    front_lock(front);
    http_model *known = hold(front, engine);
    front_unlock(front);
    if (known) {
        front->models_api->release(front->models, engine); /* it holds the engine itself */
        *ret_model = known;
        return TN_OK;
    }
    status = make_model(front, engine, ret_model, &err);
    return status == TN_OK ? TN_OK : api_fail_status(error, status, err.msg, 1);
}

void model_release(http_model *model)
{
    if (!model)
        return;
    tn_front *front = model->front;
    front_lock(front);
    bool over = --model->user_count == 0 && model->gone;
    front_unlock(front);
    if (over)
        poller_wake(front);
}

/* ---- those that are open ---- */

http_model *model_by_id(tn_front *front, uint64_t id)
{
    front_lock(front);
    http_model *model = front->models_open;
    while (model && model->id != id)
        model = model->next;
    front_unlock(front);
    return model;
}

static bool is_listed(tn_front *front, const tn_engine *wanted)
{
    tn_engine *engine;
    bool found = false;
    for (uint32_t i = 0; !found && front->models_api->at(front->models, i, &engine) == TN_OK; i++) {
        found = engine == wanted;
        front->models_api->release(front->models, engine);
    }
    return found;
}

/* Takes one out that is gone and unused; NULL: there is none. */
static http_model *take_gone(tn_front *front)
{
    front_lock(front);
    http_model **at = &front->models_open;
    while (*at && !((*at)->gone && (*at)->user_count == 0))
        at = &(*at)->next;
    http_model *model = *at;
    if (model)
        *at = model->next;
    front_unlock(front);
    return model;
}

void models_sweep(tn_front *front)
{
    uint64_t generation = front->models_api->generation(front->models);
    if (generation != front->models_generation) {
        front->models_generation = generation;
        front_lock(front);
        http_model *first = front->models_open; /* those that come later are put before it; only we take any out */
        front_unlock(front);
        for (http_model *model = first; model; model = model->next) {
            bool gone = !is_listed(front, model->engine);
            front_lock(front);
            model->gone = gone;
            front_unlock(front);
        }
    }
    for (http_model *model; (model = take_gone(front));) {
        poller_forget_model(front, model);
        destroy_model(model);
    }
}

void models_close(tn_front *front)
{
    while (front->models_open) {
        http_model *model = front->models_open;
        TN_ASSERT(model->user_count == 0);
        front->models_open = model->next;
        destroy_model(model);
    }
}

void models_visit(tn_front *front, model_visitor *visit, void *ctx)
{
    tn_engine *engine;
    for (uint32_t i = 0; front->models_api->at(front->models, i, &engine) == TN_OK; i++) {
        tn_engine_info info = {.struct_size = sizeof info};
        if (front->engine_api->info(engine, &info) == TN_OK)
            visit(front, engine, &info, ctx);
        front->models_api->release(front->models, engine);
    }
}
