/* status_pages.c: small JSON answers about the server itself. */
#include "status_pages.h"

#include "json_writer.h"
#include "prompt_input.h"

#include <inttypes.h>

static void write_model(const tn_front *front, const char *name, byte_buffer *out)
{
    byte_buffer_text(out, "{\"id\":");
    json_write_text(out, name);
    byte_buffer_print(
        out, ",\"object\":\"model\",\"created\":%" PRIu64 ",\"owned_by\":\"tenon\",\"root\":", front->info.created);
    json_write_text(out, front->info.served_names[0]);
    byte_buffer_print(out, ",\"parent\":null,\"max_model_len\":%" PRIu32 "}", front->info.max_model_len);
}

void models_write(const tn_front *front, byte_buffer *out)
{
    byte_buffer_text(out, "{\"object\":\"list\",\"data\":[");
    for (const char *const *name = front->info.served_names; *name; name++) {
        if (name != front->info.served_names)
            byte_buffer_text(out, ",");
        write_model(front, *name, out);
    }
    byte_buffer_text(out, "]}");
}

tn_status model_write(const tn_front *front, const char *name, byte_buffer *out, api_error *error)
{
    tn_status status = prompt_check_model(front, name, error);
    if (status == TN_OK)
        write_model(front, name, out);
    return status;
}

void version_write(byte_buffer *out)
{
    byte_buffer_text(out, "{\"version\":\"" HTTP_FRONTEND_VERSION "\"}");
}

uint32_t ready_write(const tn_front *front, byte_buffer *out)
{
    tn_health health = {.struct_size = sizeof health};
    tn_status status = front->stats->health(front->engine, &health);
    bool draining = health.draining || atomic_load(&front->draining);

    if (status == TN_OK && health.ready && !health.failed && !draining) {
        byte_buffer_print(out, "{\"status\":\"ready\",\"heartbeat_age_ms\":%" PRIu64 "}", health.heartbeat_age_ms);
        return 200;
    }
    const char *reason = draining           ? "the server is draining"
                         : status != TN_OK  ? tn_status_text(status)
                         : health.reason[0] ? health.reason
                                            : "the step loop has not come round recently";
    byte_buffer_print(
        out, "{\"status\":\"not ready\",\"heartbeat_age_ms\":%" PRIu64 ",\"reason\":", health.heartbeat_age_ms);
    json_write_text(out, reason);
    byte_buffer_text(out, "}");
    return 503;
}
