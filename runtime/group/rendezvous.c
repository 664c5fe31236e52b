/* rendezvous.c: see rendezvous.h. Calls count themselves in and out, so that leaving waits for them. */
#include "group/rendezvous.h"

#include <pthread.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t idle; /* users fell to 0 */
    /* under lock: */
    store *store; /* NULL: in no group */
    bool taken;   /* joining, joined or leaving */
    uint32_t users;
    /* Constant while there is a store: */
    tn_group group;
    group_identity identity; /* the store borrows strings of it */
    group_secret secret;
    char host[STORE_HOST_MAX + 1];
} current = {.lock = PTHREAD_MUTEX_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};

/* ---- joining ---- */

static tn_status open_store(const settings *settings, uint32_t timeout_ms, store **ret_store, tn_error *err)
{
    const group_identity *identity = &current.identity;
    const store_member member = {identity->name, current.host, identity->rank, identity->world};
    if (!strncmp(identity->store, "file:", 5))
        return file_store_open(identity->store + 5, &member, timeout_ms, ret_store, err);
    tn_status status = group_secret_read(settings, group_environment, &current.secret, err);
    if (status != TN_OK)
        return status;
    const tcp_store_args args = {.address = identity->store + 6,
                                 .secret = current.secret.bytes,
                                 .n_secret = current.secret.n,
                                 .many_hosts = identity->host_count > 1,
                                 .timeout_ms = timeout_ms};
    return tcp_store_open(&args, &member, ret_store, err);
}

static void name_member(uint32_t rank, char key[32])
{
    snprintf(key, 32, "tn/member/%u", rank);
}

static tn_status get_host(store *store, uint32_t rank, uint32_t timeout_ms, char ret_host[STORE_HOST_MAX + 1],
                          tn_error *err)
{
    char key[32];
    uint64_t n = STORE_HOST_MAX;
    name_member(rank, key);
    tn_status status = store->api->get(store, key, ret_host, &n, timeout_ms, err);
    if (status == TN_OK)
        ret_host[n] = 0;
    return status;
}

/* One look at a host name among those of lower ranks. */
static bool is_first(const char (*hosts)[STORE_HOST_MAX + 1], uint32_t rank)
{
    for (uint32_t i = 0; i < rank; i++) {
        if (!strcmp(hosts[i], hosts[rank]))
            return false;
    }
    return true;
}

static void count_hosts(const char (*hosts)[STORE_HOST_MAX + 1], tn_group *group)
{
    for (uint32_t rank = 0; rank < group->world; rank++) {
        bool ours = !strcmp(hosts[rank], hosts[group->rank]);
        group->local_world += ours;
        group->local_rank += ours && rank < group->rank;
        group->host_count += is_first(hosts, rank);
    }
}

/* Every member says where it is; whoever has heard all of them knows that all have come. */
static tn_status meet(store *store, uint64_t deadline_ms, tn_group *group, tn_error *err)
{
    char key[32];
    char(*hosts)[STORE_HOST_MAX + 1] = calloc(group->world, sizeof *hosts);
    if (!hosts)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a group of %u processes", group->world);
    name_member(group->rank, key);
    tn_status status = store->api->put(store, key, current.host, strlen(current.host), err);
    for (uint32_t rank = 0; rank < group->world && status == TN_OK; rank++) {
        uint64_t now_ms = clock_ms();
        uint32_t left_ms = now_ms < deadline_ms ? (uint32_t)(deadline_ms - now_ms) : 0;
        status = get_host(store, rank, left_ms, hosts[rank], err);
        if (status == TN_E_NOT_FOUND)
            status = tn_fail(err, status,
                             "rank %u of %u did not join group %s in time; is it running, and with the same store?",
                             rank, group->world, group->name);
    }
    if (status == TN_OK)
        count_hosts((const char(*)[STORE_HOST_MAX + 1]) hosts, group);
    free(hosts);
    return status;
}

static tn_status join(const settings *settings, store **ret_store, tn_error *err)
{
    const group_identity *identity = &current.identity;
    uint32_t timeout_ms = (uint32_t)(settings_number(settings, "group", "join_timeout") * 1000);
    uint64_t deadline_ms = clock_ms() + timeout_ms;
    tn_group group = {.struct_size = sizeof group, .rank = identity->rank, .world = identity->world};
    snprintf(group.name, sizeof group.name, "%s", identity->name);
    if (gethostname(current.host, sizeof current.host))
        snprintf(current.host, sizeof current.host, "unnamed");
    current.host[STORE_HOST_MAX] = 0;
    store *store = NULL;
    tn_error why = TN_ERROR_INIT;
    tn_status status = open_store(settings, timeout_ms, &store, err);
    if (status != TN_OK)
        return status;
    status = meet(store, deadline_ms, &group, &why);
    if (status != TN_OK) {
        store->api->abort(store, why.msg); /* the others would wait for what cannot be any more */
        store->api->close(store);
        return tn_fail(err, status, "%s", why.msg);
    }
    if (identity->local_rank != GROUP_LOCAL_RANK_UNKNOWN)
        group.local_rank = identity->local_rank;
    current.group = group;
    *ret_store = store;
    return TN_OK;
}

tn_status rendezvous_open(const settings *settings, const group_identity *identity, tn_group *ret_group, tn_error *err)
{
    store *store = NULL;
    TN_ASSERT(identity->world >= 1);
    pthread_mutex_lock(&current.lock);
    bool taken = current.taken;
    current.taken = true;
    pthread_mutex_unlock(&current.lock);
    if (taken)
        return tn_fail(err, TN_E_ARGUMENT, "this process is in a group already, and can be in one only");
    current.identity = *identity;
    tn_status status = join(settings, &store, err);
    pthread_mutex_lock(&current.lock);
    current.store = store;
    current.taken = status == TN_OK;
    pthread_mutex_unlock(&current.lock);
    if (status == TN_OK)
        *ret_group = current.group;
    else
        group_secret_clear(&current.secret);
    return status;
}

void rendezvous_close(void)
{
    pthread_mutex_lock(&current.lock);
    store *store = current.store;
    current.store = NULL;
    while (current.users)
        pthread_cond_wait(&current.idle, &current.lock);
    pthread_mutex_unlock(&current.lock);
    if (!store)
        return;
    store->api->close(store);
    group_secret_clear(&current.secret);
    pthread_mutex_lock(&current.lock);
    current.taken = false;
    pthread_mutex_unlock(&current.lock);
}

/* ---- the table ---- */

static tn_status begin(store **ret_store, tn_error *err)
{
    pthread_mutex_lock(&current.lock);
    store *store = current.store;
    current.users += store != NULL;
    pthread_mutex_unlock(&current.lock);
    if (!store)
        return tn_fail(
            err, TN_E_NOT_FOUND,
            "this process is in no group: set group.launcher, or group.rank, group.world_size and group.store");
    *ret_store = store;
    return TN_OK;
}

static void end(void)
{
    pthread_mutex_lock(&current.lock);
    if (--current.users == 0)
        pthread_cond_broadcast(&current.idle);
    pthread_mutex_unlock(&current.lock);
}

tn_status rendezvous_host(uint32_t rank, char ret_host[STORE_HOST_MAX + 1], tn_error *err)
{
    store *store;
    tn_status status = begin(&store, err);
    if (status != TN_OK)
        return status;
    status = rank < current.group.world ? get_host(store, rank, 0, ret_host, err)
                                        : tn_fail(err, TN_E_NOT_FOUND, "there is no rank %u", rank);
    end();
    return status;
}

tn_status rendezvous_secret(group_secret *ret_secret, tn_error *err)
{
    store *store;
    tn_status status = begin(&store, err);
    if (status != TN_OK)
        return status;
    *ret_secret = current.secret;
    end();
    return TN_OK;
}

tn_status rendezvous_put(const char *key, const void *value, uint64_t n_value, tn_error *err)
{
    store *store;
    tn_status status = begin(&store, err);
    if (status != TN_OK)
        return status;
    status = store->api->put(store, key, value, n_value, err);
    end();
    return status;
}

tn_status rendezvous_get(const char *key, void *value, uint64_t *n_value, uint32_t timeout_ms, tn_error *err)
{
    store *store;
    tn_status status = begin(&store, err);
    if (status != TN_OK)
        return status;
    status = store->api->get(store, key, value, n_value, timeout_ms, err);
    end();
    return status;
}

static tn_status table_group(const tn_host *host, tn_group *ret_group, tn_error *err)
{
    store *store;
    (void)host;
    if (!ret_group || ret_group->struct_size < sizeof ret_group->struct_size)
        return tn_fail(err, TN_E_ARGUMENT, "ret_group is NULL, or its struct_size is not set");
    tn_status status = begin(&store, err);
    if (status != TN_OK)
        return status;
    uint32_t size = ret_group->struct_size;
    memcpy(ret_group, &current.group, size < sizeof current.group ? size : sizeof current.group);
    ret_group->struct_size = size;
    end();
    return TN_OK;
}

static tn_status check_key(const char *key, tn_error *err)
{
    return key ? store_check_key(key, strlen(key), err) : tn_fail(err, TN_E_ARGUMENT, "key is NULL");
}

static tn_status table_put(const tn_host *host, const char *key, const void *value, uint64_t n_value, tn_error *err)
{
    (void)host;
    tn_status status = check_key(key, err);
    if (status == TN_OK && !strncmp(key, "tn/", 3))
        status = tn_fail(err, TN_E_ARGUMENT, "keys that begin with tn/ are the core's, not %.60s", key);
    if (status == TN_OK && (n_value > TN_RENDEZVOUS_VALUE_MAX || (n_value && !value)))
        status = tn_fail(err, TN_E_ARGUMENT, "the value of %.128s is NULL or has more than %d bytes", key,
                         TN_RENDEZVOUS_VALUE_MAX);
    return status == TN_OK ? rendezvous_put(key, value, n_value, err) : status;
}

static tn_status table_get(const tn_host *host, const char *key, void *value, uint64_t *n_value, uint32_t timeout_ms,
                           tn_error *err)
{
    (void)host;
    tn_status status = check_key(key, err);
    if (status == TN_OK && (!n_value || (*n_value && !value)))
        status = tn_fail(err, TN_E_ARGUMENT, "n_value is NULL, or value is");
    return status == TN_OK ? rendezvous_get(key, value, n_value, timeout_ms, err) : status;
}

static void table_abort(const tn_host *host, const char *reason)
{
    char sentence[STORE_REASON_MAX + 1];
    store *store;
    (void)host;
    if (begin(&store, NULL) != TN_OK)
        return;
    snprintf(sentence, sizeof sentence, "rank %u on %.100s ended the group: %s", current.group.rank, current.host,
             reason ? reason : "no reason given");
    store->api->abort(store, sentence);
    end();
}

const tn_rendezvous_table rendezvous_table = {
    .struct_size = sizeof rendezvous_table,
    .group = table_group,
    .put = table_put,
    .get = table_get,
    .abort = table_abort,
};
