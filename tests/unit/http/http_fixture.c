/* http_fixture.c: the client reads with a timeout, so that a hang is a failed test. */
#include "http_fixture.h"

#include "../cmocka_test.h"
#include "frontend.h"
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { RECEIVE_TIMEOUT_S = 60, ANSWER_BYTES_MAX = 64 << 20 };

static const char *const *current_settings;

static const char *fake_config(const tn_host *host, const char *key)
{
    (void)host;
    size_t bytes = strlen(key);
    for (const char *const *setting = current_settings; setting && *setting; setting++)
        if (strncmp(*setting, key, bytes) == 0 && (*setting)[bytes] == '=')
            return *setting + bytes + 1;
    if (strcmp(key, "listen") == 0)
        return "127.0.0.1:0";
    for (uint32_t i = 0; i < http_option_count; i++)
        if (strcmp(http_option_table[i].key, key) == 0)
            return http_option_table[i].default_value;
    fail_msg("the plugin asks for '%s', which it never declared", key);
    return NULL;
}

static void fake_log(const tn_host *host, uint32_t level, const char *component, const char *text)
{
    http_fixture *fixture = host->ctx;
    size_t used = strlen(fixture->log);
    (void)level;
    snprintf(fixture->log + used, sizeof fixture->log - used, "%s: %s\n", component, text);
}

const tn_auth_table *http_fixture_auth = &fake_auth_table;

static const void *fake_interface(const tn_host *host, const char *id)
{
    (void)host;
    return strcmp(id, TN_AUTH_ID) == 0 ? http_fixture_auth : NULL;
}

/* Two engines in place of one. */
static void add_models(http_fixture *fixture, tn_frontend_args *args)
{
    static const char *const names[] = {"other", NULL};
    fixture->second.info.served_names = names;
    fixture->second.reply = "Second";
    fixture->models.engine[0] = &fixture->engine;
    fixture->models.engine[1] = &fixture->second;
    fake_models_list(&fixture->models, 0, true);
    fake_models_list(&fixture->models, 1, true);
    args->engine = NULL;
    args->models = (tn_models *)(void *)&fixture->models;
    args->models_api = &fake_models_table;
}

tn_status http_fixture_start(http_fixture *fixture, const char *const *settings, tn_error *err)
{
    static const uint32_t level = TN_LOG_INFO;

    memset(fixture, 0, sizeof *fixture);
    fake_engine_init(&fixture->engine);
    fake_engine_init(&fixture->second);
    fixture->host = (tn_host){.struct_size = sizeof fixture->host,
                              .ctx = fixture,
                              .log_level = &level,
                              .log = fake_log,
                              .config = fake_config};
    current_settings = settings;
    tn_frontend_args args = {.struct_size = sizeof args,
                             .host = &fixture->host,
                             .engine = &fixture->engine,
                             .engine_api = &fake_engine_table,
                             .chat = &fake_chat_table,
                             .stats = &fake_stats_table};
    for (const char *const *setting = settings; setting && *setting; setting++) {
        if (strncmp(*setting, "fake_context=", 13) == 0)
            fixture->engine.info.max_model_len = (uint32_t)strtoul(*setting + 13, NULL, 10);
        if (strcmp(*setting, "fake_author=1") == 0)
            fixture->engine.info.defaults = fake_author;
        if (strcmp(*setting, "fake_models=1") == 0)
            add_models(fixture, &args);
        if (strcmp(*setting, "fake_auth=1") == 0)
            fixture->host.get_interface = fake_interface;
        if (strcmp(*setting, "fake_admin=1") == 0) {
            args.admin = (tn_admin *)(void *)&fixture->admin;
            args.admin_api = &fake_admin_table;
        }
        if (strcmp(*setting, "fake_old_admin=1") == 0) {
            args.admin = (tn_admin *)(void *)&fixture->admin;
            args.admin_api = &fake_old_admin_table;
        }
    }
    tn_status status = http_frontend_table.start(&args, &fixture->front, err);
    if (status != TN_OK) {
        fake_engine_finish(&fixture->engine);
        fake_engine_finish(&fixture->second);
        return status;
    }
    const char *port = strrchr(http_frontend_table.address(fixture->front), ':');
    fixture->port = (uint16_t)strtoul(port + 1, NULL, 10);
    return TN_OK;
}

void http_fixture_stop(http_fixture *fixture)
{
    http_frontend_table.stop(fixture->front);
    fixture->front = NULL;
    fake_engine_finish(&fixture->engine);
    fake_engine_finish(&fixture->second);
}

int http_fixture_setup(void **state)
{
    return http_fixture_setup_with(state, NULL);
}

int http_fixture_setup_with(void **state, const char *const *settings)
{
    http_fixture *fixture = malloc(sizeof *fixture);
    tn_error err = TN_ERROR_INIT;
    if (http_fixture_start(fixture, settings, &err) != TN_OK) {
        fprintf(stderr, "%s\n", err.msg);
        free(fixture);
        return -1;
    }
    *state = fixture;
    return 0;
}

bool http_becomes(atomic_uint *value, uint32_t wanted)
{
    for (int i = 0; i < FAKE_WAIT_STEPS && atomic_load(value) != wanted; i++)
        usleep(FAKE_STEP_US);
    return atomic_load(value) == wanted;
}

int http_fixture_teardown(void **state)
{
    http_fixture_stop(*state);
    free(*state);
    return 0;
}

int http_connect(const http_fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture->port)};
    struct timeval timeout = {.tv_sec = RECEIVE_TIMEOUT_S};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    return fd;
}

void http_send(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        n -= (size_t)sent;
    }
}

/* Bytes read ahead of what has been parsed. */
typedef struct byte_reader {
    int fd;
    char bytes[16384];
    size_t at, count;
} byte_reader;

static int next_byte(byte_reader *reader)
{
    if (reader->at == reader->count) {
        ssize_t got = recv(reader->fd, reader->bytes, sizeof reader->bytes, 0);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("no answer within %d s", RECEIVE_TIMEOUT_S);
        if (got <= 0)
            return -1;
        reader->at = 0;
        reader->count = (size_t)got;
    }
    return (unsigned char)reader->bytes[reader->at++];
}

static bool read_head(byte_reader *reader, http_answer *answer)
{
    size_t used = 0;
    while (used < sizeof answer->head - 1) {
        int byte = next_byte(reader);
        if (byte < 0)
            return false;
        answer->head[used++] = (char)byte;
        answer->head[used] = '\0';
        if (used >= 4 && memcmp(answer->head + used - 4, "\r\n\r\n", 4) == 0)
            return sscanf(answer->head, "HTTP/1.%*d %d", &answer->status) == 1;
    }
    return false;
}

static bool read_bytes(byte_reader *reader, http_answer *answer, size_t n)
{
    answer->body = realloc(answer->body, answer->body_bytes + n + 1);
    for (size_t i = 0; i < n; i++) {
        int byte = next_byte(reader);
        if (byte < 0)
            return false;
        answer->body[answer->body_bytes++] = (char)byte;
        answer->body[answer->body_bytes] = '\0';
    }
    return true;
}

static bool read_chunks(byte_reader *reader, http_answer *answer)
{
    for (;;) {
        char line[32];
        size_t used = 0;
        int byte;
        while ((byte = next_byte(reader)) >= 0 && byte != '\n' && used < sizeof line - 1)
            line[used++] = (char)byte;
        line[used] = '\0';
        if (byte < 0)
            return false;
        size_t n = strtoul(line, NULL, 16);
        if (!read_bytes(reader, answer, n) || next_byte(reader) != '\r' || next_byte(reader) != '\n')
            return false;
        if (n == 0)
            return true;
    }
}

http_answer http_receive(int fd)
{
    static _Thread_local byte_reader reader;
    http_answer answer = {.body = calloc(1, 1)};

    reader.fd = fd;
    reader.at = reader.count = 0;
    do { /* 100 Continue may come first */
        answer.status = 0;
        if (!read_head(&reader, &answer))
            return answer;
    } while (answer.status == 100);
    const char *length = strcasestr(answer.head, "\r\nContent-Length:");
    if (strcasestr(answer.head, "\r\nTransfer-Encoding: chunked"))
        answer.complete = read_chunks(&reader, &answer);
    else if (length)
        answer.complete = read_bytes(&reader, &answer, strtoul(length + 17, NULL, 10));
    else
        while (read_bytes(&reader, &answer, 1))
            answer.complete = true;
    answer.json = json_loadb(answer.body, answer.body_bytes, JSON_REJECT_DUPLICATES, NULL);
    return answer;
}

http_answer http_ask(const http_fixture *fixture, const char *method, const char *path, const char *headers,
                     const char *body)
{
    char head[8192];
    int fd = http_connect(fixture);

    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method, path,
                     headers ? headers : "");
    assert_true(n > 0 && (size_t)n < sizeof head - 64);
    if (body)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\n", strlen(body));
    memcpy(head + n, "\r\n", 2);
    http_send(fd, head, (size_t)n + 2);
    if (body)
        http_send(fd, body, strlen(body));
    http_answer answer = http_receive(fd);
    close(fd);
    return answer;
}

http_answer http_get(const http_fixture *fixture, const char *path)
{
    return http_ask(fixture, "GET", path, NULL, NULL);
}

http_answer http_post(const http_fixture *fixture, const char *path, const char *json)
{
    return http_ask(fixture, "POST", path, "Content-Type: application/json\r\n", json);
}

void http_answer_finish(http_answer *answer)
{
    json_decref(answer->json);
    free(answer->body);
    answer->json = NULL;
    answer->body = NULL;
}

json_t *http_at(const json_t *json, const char *path)
{
    char key[64];
    while (json && *path) {
        size_t bytes = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)bytes, path);
        json = json_is_array(json) ? json_array_get(json, strtoul(key, NULL, 10)) : json_object_get(json, key);
        path += bytes + (path[bytes] == '.');
    }
    return (json_t *)(uintptr_t)json;
}

const char *http_text_at(const json_t *json, const char *path)
{
    const char *text = json_string_value(http_at(json, path));
    return text ? text : "(no text)";
}

static const char *find_chunk(const http_answer *answer, size_t n)
{
    const char *at = answer->body;
    for (size_t i = 0; at && (at = strstr(at, "data: ")); i++, at += 6)
        if (i == n)
            return strncmp(at + 6, "[DONE]", 6) == 0 ? NULL : at + 6;
    return NULL;
}

json_t *http_chunk(const http_answer *answer, size_t n)
{
    const char *at = find_chunk(answer, n);
    return at ? json_loads(at, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL) : NULL;
}

size_t http_chunk_count(const http_answer *answer)
{
    size_t count = 0;
    while (find_chunk(answer, count))
        count++;
    return count;
}
