/* group_member.c: a member of a group that does what it is told: group_member SETTING... -- ACTION...
 *
 *   put KEY VALUE   get KEY MS   put-big KEY BYTES   get-big KEY MS   barrier NAME MS   abort REASON   sleep MS   wait
 * (for a line on standard input)   many THREADS (exchange with all from several threads at once)   vanish (no farewell)
 *
 * It calls the table as a plugin would. Each action prints a line; the first that fails ends it with "failed STATUS:
 * message".
 */
#include "group/rendezvous.h"

#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

static const tn_rendezvous_table *const table = &rendezvous_table;
static tn_group group = {.struct_size = sizeof group};
static char *big;

/* "barrier/NAME/RANK" of every member. */
static tn_status barrier(const char *name, uint32_t timeout_ms, tn_error *err)
{
    char key[TN_RENDEZVOUS_KEY_MAX + 1], value[16];
    snprintf(key, sizeof key, "barrier/%s/%u", name, group.rank);
    tn_status status = table->put(NULL, key, "", 0, err);
    for (uint32_t rank = 0; rank < group.world && status == TN_OK; rank++) {
        uint64_t n = sizeof value;
        snprintf(key, sizeof key, "barrier/%s/%u", name, rank);
        status = table->get(NULL, key, value, &n, timeout_ms, err);
    }
    return status;
}

static void *exchange(void *argument)
{
    char name[32];
    tn_error err = TN_ERROR_INIT;
    for (int round = 0; round < 5; round++) {
        snprintf(name, sizeof name, "t%d.%d", *(int *)argument, round);
        if (barrier(name, 20000, &err) != TN_OK) {
            printf("%s\n", err.msg);
            return argument;
        }
    }
    return NULL;
}

static tn_status many(int count, tn_error *err)
{
    pthread_t threads[16];
    int numbers[16];
    void *failed = NULL;
    TN_ASSERT(count <= 16);
    for (int i = 0; i < count; i++) {
        numbers[i] = i;
        TN_ASSERT(pthread_create(&threads[i], NULL, exchange, &numbers[i]) == 0);
    }
    for (int i = 0; i < count; i++) {
        void *result;
        pthread_join(threads[i], &result);
        failed = result ? result : failed;
    }
    return failed ? tn_fail(err, TN_E_INTERNAL, "a thread failed") : TN_OK;
}

static tn_status get(const char *key, const char *timeout_ms, tn_error *err)
{
    char value[256];
    uint64_t n = sizeof value;
    tn_status status = table->get(NULL, key, value, &n, (uint32_t)atoi(timeout_ms), err);
    if (status == TN_OK)
        printf("%s = %.*s\n", key, (int)n, value);
    return status;
}

/* A value whose every byte is known, into exactly as much room, after asking how much that is. */
static tn_status get_big(const char *key, const char *timeout_ms, tn_error *err)
{
    uint64_t n = 0, good = 0;
    if (table->get(NULL, key, NULL, &n, (uint32_t)atoi(timeout_ms), err) != TN_E_MEMORY)
        return tn_fail(err, TN_E_INTERNAL, "no room was enough");
    uint64_t bytes = n;
    tn_status status = table->get(NULL, key, big, &n, 0, err);
    while (status == TN_OK && good < n && big[good] == (char)(good * 7 + good / 256))
        good++;
    if (status == TN_OK)
        printf("%s has %" PRIu64 " bytes, %" PRIu64 " good\n", key, bytes, good);
    return status;
}

static tn_status put_big(const char *key, const char *bytes, tn_error *err)
{
    uint64_t n = (uint64_t)atoll(bytes);
    for (uint64_t i = 0; i < n && i < TN_RENDEZVOUS_VALUE_MAX; i++)
        big[i] = (char)(i * 7 + i / 256);
    return table->put(NULL, key, big, n, err);
}

/* One action; *ret_used: arguments it took. */
static tn_status act(char **words, int *ret_used, tn_error *err)
{
    static const struct {
        const char *name;
        int words;
    } actions[] = {{"put", 3},   {"get", 3},   {"put-big", 3}, {"get-big", 3}, {"barrier", 3},
                   {"abort", 2}, {"sleep", 2}, {"wait", 1},    {"many", 2},    {"vanish", 1}};
    size_t i = 0;
    while (i < sizeof actions / sizeof *actions && strcmp(actions[i].name, words[0]))
        i++;
    TN_ASSERT(i < sizeof actions / sizeof *actions);
    *ret_used = actions[i].words;
    switch (i) {
    case 0:
        return table->put(NULL, words[1], words[2], strlen(words[2]), err);
    case 1:
        return get(words[1], words[2], err);
    case 2:
        return put_big(words[1], words[2], err);
    case 3:
        return get_big(words[1], words[2], err);
    case 4:
        return barrier(words[1], (uint32_t)atoi(words[2]), err);
    case 5:
        table->abort(NULL, words[1]);
        return TN_OK;
    case 6:
        usleep((useconds_t)atoi(words[1]) * 1000);
        return TN_OK;
    case 7:
        while (getchar() != '\n')
            ;
        return TN_OK;
    case 8:
        return many(atoi(words[1]), err);
    default:
        _exit(0);
    }
}

static tn_status run(const settings *settings, char **words, tn_error *err)
{
    group_identity identity;
    tn_status status = group_identity_find(settings, group_environment, &identity, err);
    if (status == TN_OK)
        status = rendezvous_open(settings, &identity, &group, err);
    if (status != TN_OK)
        return status;
    group.struct_size = sizeof group;
    status = table->group(NULL, &group, err);
    printf("joined %s as %u of %u, local %u of %u, %u hosts\n", group.name, group.rank, group.world, group.local_rank,
           group.local_world, group.host_count);
    for (int used; status == TN_OK && *words; words += used) {
        fflush(stdout);
        const char *name = *words;
        status = act(words, &used, err);
        if (status == TN_OK)
            printf("done %s\n", name);
    }
    return status;
}

int main(int argc, char **argv)
{
    tn_error err = TN_ERROR_INIT;
    settings *settings = NULL;
    int at = 1;
    big = malloc(TN_RENDEZVOUS_VALUE_MAX);
    while (at < argc && strcmp(argv[at], "--"))
        at++;
    TN_ASSERT(big && at < argc);
    argv[at] = NULL;
    tn_status status = settings_read(NULL, (const char *const *)argv + 1, &settings, &err);
    if (status == TN_OK)
        status = run(settings, argv + at + 1, &err);
    if (status != TN_OK)
        printf("failed %d: %s\n", status, err.msg);
    fflush(stdout);
    rendezvous_close();
    settings_destroy(settings);
    free(big);
    return status == TN_OK ? 0 : 1;
}
