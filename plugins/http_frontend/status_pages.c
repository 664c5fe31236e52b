/* status_pages.c: small JSON answers about the server itself. */
#include "status_pages.h"

#include "json_writer.h"
#include "model.h"

#include <inttypes.h>

static void write_model(const tn_engine_info *info, const char *name, byte_buffer *out)
{
    byte_buffer_text(out, "{\"id\":");
    json_write_text(out, name);
    byte_buffer_print(out,
                      ",\"object\":\"model\",\"created\":%" PRIu64 ",\"owned_by\":\"tenon\",\"root\":", info->created);
    json_write_text(out, info->served_names[0]);
    byte_buffer_print(out, ",\"parent\":null,\"max_model_len\":%" PRIu32 "}", info->max_model_len);
}

static void list_model(tn_front *front, tn_engine *engine, const tn_engine_info *info, void *ctx)
{
    byte_buffer *out = ctx;
    (void)front, (void)engine;
    for (const char *const *name = info->served_names; *name; name++) {
        if (out->count > 0)
            byte_buffer_text(out, ",");
        write_model(info, *name, out);
    }
}

void models_write(tn_front *front, byte_buffer *out)
{
    byte_buffer list = {0};
    models_visit(front, list_model, &list);
    byte_buffer_text(out, "{\"object\":\"list\",\"data\":[");
    byte_buffer_join(out, &list);
    byte_buffer_text(out, "]}");
    byte_buffer_finish(&list);
}

tn_status model_write(tn_front *front, const char *name, byte_buffer *out, api_error *error)
{
    http_model *model;
    tn_status status = model_find(front, name, &model, error);
    if (status != TN_OK)
        return status;
    write_model(&model->info, name, out);
    model_release(model);
    return TN_OK;
}

void version_write(byte_buffer *out)
{
    byte_buffer_text(out, "{\"version\":\"" HTTP_FRONTEND_VERSION "\"}");
}

static const char *why_not(tn_status status, bool draining, const tn_health *health)
{
    return draining            ? "the server is draining"
           : status != TN_OK   ? tn_status_text(status)
           : health->reason[0] ? health->reason
                               : "the step loop has not come round recently";
}

/* {"status":...,"heartbeat_age_ms":...} and why, of one engine; returns whether it is ready. */
static bool write_health(tn_front *front, tn_engine *engine, byte_buffer *out)
{
    tn_health health = {.struct_size = sizeof health};
    tn_status status = front->stats->health(engine, &health);
    bool draining = health.draining || atomic_load(&front->draining);
    bool ready = status == TN_OK && health.ready && !health.failed && !draining;

    byte_buffer_print(out, "{\"status\":\"%s\",\"heartbeat_age_ms\":%" PRIu64, ready ? "ready" : "not ready",
                      health.heartbeat_age_ms);
    if (!ready) {
        byte_buffer_text(out, ",\"reason\":");
        json_write_text(out, why_not(status, draining, &health));
    }
    byte_buffer_text(out, "}");
    return ready;
}

static void list_health(tn_front *front, tn_engine *engine, const tn_engine_info *info, void *ctx)
{
    byte_buffer *out = ctx;
    byte_buffer_text(out, out->count ? "," : "");
    json_write_text(out, info->served_names[0]);
    byte_buffer_text(out, ":");
    write_health(front, engine, out);
}

uint32_t ready_write(tn_front *front, bool brief, byte_buffer *out)
{
    byte_buffer list = {0};
    if (brief) {
        byte_buffer told = {0};
        uint32_t status = ready_write(front, false, &told);
        byte_buffer_finish(&told);
        byte_buffer_print(out, "{\"status\":\"%s\"}", status == 200 ? "ready" : "not ready");
        return status;
    }
    bool ready = !atomic_load(&front->draining);
    if (front->engine)
        return write_health(front, front->engine, out) ? 200 : 503;
    models_visit(front, list_health, &list);
    byte_buffer_print(out, "{\"status\":\"%s\",\"models\":{", ready ? "ready" : "not ready");
    byte_buffer_join(out, &list);
    byte_buffer_text(out, "}}");
    byte_buffer_finish(&list);
    return ready ? 200 : 503;
}
