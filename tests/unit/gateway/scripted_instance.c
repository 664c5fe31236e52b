/* scripted_instance.c: see scripted_instance.h. */
#include "scripted_instance.h"

#include "base/unix_socket.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 60000 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void scripted_open(scripted_instance *instance, const scratch_directory *folder, const char *name, uint64_t identity)
{
    static const char *const names[] = {"scripted", NULL};
    tn_error err = TN_ERROR_INIT;
    memset(instance, 0, sizeof *instance);
    snprintf(instance->name, sizeof instance->name, "%s", name);
    snprintf(instance->path, sizeof instance->path, "%s/%s.sock", folder->path, name);
    instance->fd = -1;
    instance->identity = identity;
    instance->version = ENGINE_FRAME_VERSION;
    instance->health = (tn_health){.struct_size = sizeof instance->health, .ready = 1};
    instance->info = (tn_engine_info){.struct_size = sizeof instance->info,
                                      .vocab_size = 384,
                                      .max_model_len = 512,
                                      .max_num_seqs = 8,
                                      .max_choices = 8,
                                      .max_top_logprobs = 5,
                                      .max_stop = 4,
                                      .max_stop_bytes = 64,
                                      .max_bias = 8,
                                      .max_stop_tokens = 8,
                                      .served_names = names,
                                      .model_path = "/nowhere",
                                      .architecture = "none",
                                      .created = 1};
    if (unix_socket_listen(instance->path, 0600, &instance->listen_fd, &err) != TN_OK)
        fail_msg("%s", err.msg);
}

void scripted_hang_up(scripted_instance *instance)
{
    if (instance->fd >= 0)
        close(instance->fd);
    instance->fd = -1;
    wire_buffer_finish(&instance->in);
}

void scripted_close(scripted_instance *instance)
{
    scripted_hang_up(instance);
    close(instance->listen_fd);
    unlink(instance->path);
}

/* ---- frames in ---- */

/* Takes what has come, waiting for at most ms; false: nothing has. */
static bool receive(scripted_instance *instance, int ms)
{
    struct pollfd ready = {.fd = instance->fd, .events = POLLIN};
    if (poll(&ready, 1, ms) <= 0)
        return false;
    assert_int_equal(wire_buffer_reserve(&instance->in, 65536, NULL), TN_OK);
    ssize_t got = read(instance->fd, instance->in.bytes + instance->in.end, 65536);
    if (got <= 0)
        fail_msg("%s: the gateway has closed the connection", instance->name);
    instance->in.end += (size_t)got;
    return true;
}

static void answer(scripted_instance *instance, uint64_t what)
{
    wire_buffer out = {0};
    if (what == FRAME_ASK_STATS && instance->stats)
        frame_stats_write(&out, instance->stats, (tn_engine *)(void *)instance, NULL);
    else if (what == FRAME_ASK_HEALTH && !instance->silent_on_health)
        frame_health_write(&out, &instance->health, 3, NULL);
    scripted_send(instance, &out);
}

/* The next frame that is no question; NULL: none for so long. */
static const uint8_t *next(scripted_instance *instance, int ms, size_t *ret_n)
{
    int64_t end_ms = now_ms() + ms;
    for (;;) {
        const uint8_t *frame;
        frame_note note;
        tn_status status = wire_buffer_take_frame(&instance->in, 1 << 20, &frame, ret_n, NULL);
        if (status == TN_OK && frame[0] == FRAME_ASK) {
            assert_int_equal(frame_note_read(frame, *ret_n, &note, NULL), TN_OK);
            answer(instance, note.number);
            continue;
        }
        if (status == TN_OK)
            return frame;
        assert_int_equal(status, TN_E_AGAIN);
        int64_t left_ms = end_ms - now_ms();
        if (left_ms <= 0 || !receive(instance, (int)left_ms))
            return NULL;
    }
}

const uint8_t *scripted_expect(scripted_instance *instance, uint32_t kind, size_t *ret_n)
{
    const uint8_t *frame = next(instance, WAIT_MS, ret_n);
    if (!frame)
        fail_msg("%s: no frame of kind %u", instance->name, kind);
    if (frame[0] != kind)
        fail_msg("%s: a frame of kind %u, not %u", instance->name, frame[0], kind);
    return frame;
}

frame_note scripted_expect_note(scripted_instance *instance, uint32_t kind)
{
    frame_note note;
    size_t n;
    const uint8_t *frame = scripted_expect(instance, kind, &n);
    assert_int_equal(frame_note_read(frame, n, &note, NULL), TN_OK);
    return note;
}

scripted_request scripted_expect_request(scripted_instance *instance)
{
    frame_request read;
    size_t n;
    const uint8_t *frame = next(instance, WAIT_MS, &n);
    while (frame && (frame[0] == FRAME_OPEN || frame[0] == FRAME_CREDIT))
        frame = next(instance, WAIT_MS, &n);
    if (!frame || frame[0] != FRAME_SUBMIT)
        fail_msg("%s: no request, but %d", instance->name, frame ? frame[0] : -1);
    assert_int_equal(frame_request_read(frame, n, &read, NULL), TN_OK);
    return (scripted_request){.channel = read.channel,
                              .tag = read.request.user,
                              .flags = read.request.flags,
                              .token_count = (uint32_t)read.request.token_count,
                              .seed = read.request.seed};
}

void scripted_expect_nothing(scripted_instance *instance, int ms)
{
    size_t n;
    const uint8_t *frame = next(instance, ms, &n);
    if (frame)
        fail_msg("%s: a frame of kind %u that was not expected", instance->name, frame[0]);
}

/* ---- frames out ---- */

void scripted_send(scripted_instance *instance, wire_buffer *frames)
{
    size_t n = wire_buffer_count(frames);
    if (n > 0)
        assert_int_equal(send(instance->fd, frames->bytes + frames->begin, n, MSG_NOSIGNAL), n);
    wire_buffer_finish(frames);
}

static void *greet(void *argument)
{
    scripted_instance *instance = argument;
    struct pollfd ready = {.fd = instance->listen_fd, .events = POLLIN};
    wire_buffer out = {0};
    poll(&ready, 1, WAIT_MS);
    instance->fd = accept(instance->listen_fd, NULL, NULL);
    frame_note hello = scripted_expect_note(instance, FRAME_HELLO);
    assert_true(hello.tag == ENGINE_FRAME_MAGIC && hello.number == ENGINE_FRAME_VERSION);
    frame_info_write(&out, &instance->info, instance->identity, NULL);
    out.bytes[5] = (uint8_t)instance->version;
    scripted_send(instance, &out);
    return NULL;
}

tn_status scripted_attach(scripted_instance *instance, gateway_route *route, tn_error *err)
{
    assert_int_equal(pthread_create(&instance->greeter, NULL, greet, instance), 0);
    tn_status status = gateway_attach(route, instance->name, instance->path, err);
    pthread_join(instance->greeter, NULL);
    return status;
}

void scripted_take(scripted_instance *instance, const scripted_request *request, uint64_t id)
{
    frame_note note = {.kind = FRAME_TAKEN, .channel = request->channel, .tag = request->tag, .number = id};
    wire_buffer out = {0};
    frame_note_write(&out, &note, NULL);
    scripted_send(instance, &out);
}

void scripted_refuse(scripted_instance *instance, const scripted_request *request, tn_status status, const char *text)
{
    frame_note note = {.kind = FRAME_REFUSED,
                       .channel = request->channel,
                       .tag = request->tag,
                       .status = status,
                       .text = {text, (uint32_t)strlen(text)}};
    wire_buffer out = {0};
    frame_note_write(&out, &note, NULL);
    scripted_send(instance, &out);
}

void scripted_event(scripted_instance *instance, const scripted_request *request, uint32_t kind, uint32_t index)
{
    wire_buffer out = {0};
    tn_event event = {.struct_size = sizeof event,
                      .kind = kind,
                      .user = request->tag,
                      .index = index,
                      .token = 9,
                      .stop_token = -1,
                      .finish = kind == TN_EVENT_CHOICE ? TN_FINISH_LENGTH : TN_FINISH_NONE,
                      .seed = kind == TN_EVENT_ACCEPTED ? 1234 : 0,
                      .text = kind == TN_EVENT_TOKEN ? "x" : "",
                      .text_bytes = kind == TN_EVENT_TOKEN};
    frame_event_write(&out, request->channel, &event, NULL);
    scripted_send(instance, &out);
}

void scripted_finish(scripted_instance *instance, const scripted_request *request, tn_status status, const char *text)
{
    wire_buffer out = {0};
    tn_event event = {.struct_size = sizeof event,
                      .kind = TN_EVENT_CHOICE,
                      .user = request->tag,
                      .stop_token = -1,
                      .finish = status == TN_OK ? TN_FINISH_LENGTH : TN_FINISH_ERROR,
                      .text = ""};
    frame_event_write(&out, request->channel, &event, NULL);
    event.kind = TN_EVENT_DONE;
    event.finish = TN_FINISH_NONE;
    event.status = status;
    event.text = text;
    event.text_bytes = strlen(text);
    frame_event_write(&out, request->channel, &event, NULL);
    scripted_send(instance, &out);
}
