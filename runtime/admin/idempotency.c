/* idempotency.c: a table of fixed size, searched from end to end: keys are few and their requests slow. */
#include "admin/idempotency.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    char key[IDEMPOTENCY_KEY_BYTES_MAX + 1]; /* "": free */
    char caller[TN_TOKEN_NAME_MAX + 1];
    digest request;
    int64_t begun_s;
    uint32_t code; /* 0: being answered */
    char *text;    /* owned */
} entry;

struct idempotency {
    pthread_mutex_t lock; /* guards all below; changed tells of every end, and of stopping */
    pthread_cond_t changed;
    bool stopping;
    entry entries[IDEMPOTENCY_KEYS_MAX];
};

tn_status idempotency_create(idempotency **ret_table, tn_error *err)
{
    idempotency *table = calloc(1, sizeof *table);

    if (!table)
        return tn_fail(err, TN_E_MEMORY, "out of memory for idempotency keys");
    pthread_mutex_init(&table->lock, NULL);
    pthread_cond_init(&table->changed, NULL);
    *ret_table = table;
    return TN_OK;
}

static void forget(entry *entry)
{
    free(entry->text);
    memset(entry, 0, sizeof *entry);
}

void idempotency_destroy(idempotency *table)
{
    if (!table)
        return;
    for (uint32_t i = 0; i < IDEMPOTENCY_KEYS_MAX; i++)
        forget(&table->entries[i]);
    pthread_cond_destroy(&table->changed);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

void idempotency_stop(idempotency *table)
{
    pthread_mutex_lock(&table->lock);
    table->stopping = true;
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
}

static entry *find(idempotency *table, const char *caller, const char *key)
{
    for (uint32_t i = 0; i < IDEMPOTENCY_KEYS_MAX; i++)
        if (strcmp(table->entries[i].key, key) == 0 && strcmp(table->entries[i].caller, caller) == 0)
            return &table->entries[i];
    return NULL;
}

/* A free one, else that of the oldest answer; NULL: all are being answered. */
static entry *make_room(idempotency *table)
{
    entry *oldest = find(table, "", "");

    if (oldest)
        return oldest;
    for (uint32_t i = 0; i < IDEMPOTENCY_KEYS_MAX; i++) {
        entry *at = &table->entries[i];
        if (at->code && (!oldest || at->begun_s < oldest->begun_s))
            oldest = at;
    }
    if (oldest)
        forget(oldest);
    return oldest;
}

static void forget_old(idempotency *table, int64_t now_s)
{
    for (uint32_t i = 0; i < IDEMPOTENCY_KEYS_MAX; i++)
        if (table->entries[i].code && now_s - table->entries[i].begun_s >= IDEMPOTENCY_SECONDS)
            forget(&table->entries[i]);
}

static tn_status check_key(const char *key, tn_error *err)
{
    size_t bytes = strlen(key);

    for (size_t i = 0; i < bytes; i++)
        if (key[i] <= 0x20 || key[i] > 0x7e)
            bytes = 0;
    if (bytes >= 1 && bytes <= IDEMPOTENCY_KEY_BYTES_MAX)
        return TN_OK;
    return tn_fail(err, TN_E_ARGUMENT, "Idempotency-Key: it must be 1 to %d printable ASCII characters without blanks",
                   IDEMPOTENCY_KEY_BYTES_MAX);
}

static tn_status copy_answer(const entry *entry, kept_answer *ret_answer, tn_error *err)
{
    char *text = entry->text ? strdup(entry->text) : NULL;

    if (entry->text && !text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for an answer");
    *ret_answer = (kept_answer){entry->code, text};
    return TN_OK;
}

static tn_status begin(idempotency *table, const char *caller, const char *key, const digest *request, int64_t now_s,
                       kept_answer *ret_answer, tn_error *err)
{
    entry *entry;

    forget_old(table, now_s);
    while ((entry = find(table, caller, key)) && entry->code == 0 && digest_equal(&entry->request, request) &&
           !table->stopping)
        pthread_cond_wait(&table->changed, &table->lock);
    if (table->stopping)
        return tn_fail(err, TN_E_CANCELLED, "the daemon is ending");
    if (entry && !digest_equal(&entry->request, request))
        return tn_fail(err, TN_E_ARGUMENT, "Idempotency-Key: it was used for another request");
    if (entry)
        return copy_answer(entry, ret_answer, err);
    entry = make_room(table);
    if (!entry)
        return tn_fail(err, TN_E_AGAIN, "%d requests with an Idempotency-Key are being answered; try again later",
                       IDEMPOTENCY_KEYS_MAX);
    strcpy(entry->key, key);
    strcpy(entry->caller, caller);
    entry->request = *request;
    entry->begun_s = now_s;
    *ret_answer = (kept_answer){0};
    return TN_OK;
}

tn_status idempotency_begin(idempotency *table, const char *caller, const char *key, const digest *request,
                            int64_t now_s, kept_answer *ret_answer, tn_error *err)
{
    TN_ASSERT(strlen(caller) <= TN_TOKEN_NAME_MAX);
    tn_status status = check_key(key, err);
    if (status != TN_OK)
        return status;
    pthread_mutex_lock(&table->lock);
    status = begin(table, caller, key, request, now_s, ret_answer, err);
    pthread_mutex_unlock(&table->lock);
    return status;
}

void idempotency_end(idempotency *table, const char *caller, const char *key, uint32_t code, const char *text)
{
    bool keep = code < 500 && code != 429 && (!text || strlen(text) <= IDEMPOTENCY_BYTES_MAX);
    char *copy = keep && text ? strdup(text) : NULL;

    pthread_mutex_lock(&table->lock);
    entry *entry = find(table, caller, key);
    TN_ASSERT(entry && entry->code == 0);
    if (keep && (copy || !text)) {
        entry->code = code;
        entry->text = copy;
    } else {
        forget(entry);
    }
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
}
