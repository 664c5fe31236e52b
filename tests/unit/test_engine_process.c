/* test_engine_process.c: an instance's folder: the longest path there may be, and folders that others reach into while
 * they are removed.
 */
#include "cmocka_test.h"

#include "file/directory.h"
#include "scratch_directory.h"
#include "service/engine_process.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

static const char *const sets[] = {NULL};

static wish make_wish(const char *name)
{
    const service_spec spec = {.name = name, .model = "m", .pool = "GPU_NV_S", .max_instances = 1, .sets = sets};
    wish wish = {.min = 0};
    tn_error err = TN_ERROR_INIT;
    if (wish_take(&wish, &spec, &err) != TN_OK)
        fail_msg("%s", err.msg);
    wish.path = strdup("/models/m");
    return wish;
}

/* The socket lies in the folder, whatever the length of the store's path: or the store is refused. */
static void test_the_longest_store(void **state)
{
    (void)state;
    scratch_directory folder = scratch_create();
    char instances[128], service[SERVICE_NAME_BYTES_MAX + 1], wanted[PATH_MAX];
    settings *base;
    pool pool;
    tn_error err = TN_ERROR_INIT;
    engine_record record = {.generation = 1};
    engine_process process;

    size_t most = (size_t)snprintf(instances, sizeof instances, "%s/", folder.path);
    while (engine_process_check_store(instances, NULL) == TN_OK) {
        instances[most++] = 'i';
        instances[most] = '\0';
    }
    instances[most - 1] = '\0';
    assert_int_equal(engine_process_check_store(instances, NULL), TN_OK);
    assert_int_equal(mkdir(instances, 0700), 0);
    memset(service, 's', sizeof service);
    service[SERVICE_NAME_BYTES_MAX] = '\0';
    wish wish = make_wish(service);
    assert_int_equal(settings_read(NULL, sets, &base, NULL), TN_OK);
    assert_int_equal(pool_find(base, "GPU_NV_S", &pool, NULL), TN_OK);
    engine_process_name(instances, service, record.claim.instance);
    if (engine_process_start("/bin/true", instances, &record, base, &wish, &pool, "", &process, &err) != TN_OK)
        fail_msg("%s", err.msg);
    snprintf(wanted, sizeof wanted, "%s/engine.sock", process.folder);
    assert_string_equal(process.socket, wanted);
    assert_int_equal(strlen(wanted), SOCKET_PATH_BYTES - 1);
    engine_process_remove(&process, NULL);
    assert_int_equal(rmdir(instances), 0); /* nothing is left in it */
    settings_destroy(base);
    wish_finish(&wish);
    scratch_destroy(&folder);
}

typedef struct intruder {
    pthread_t thread;
    char path[256];
    atomic_bool stops;
} intruder;

/* A keeper that begins late makes its lock. */
static void *make_locks(void *ctx)
{
    intruder *i = ctx;
    while (!atomic_load(&i->stops)) {
        int fd = open(i->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

static void test_a_folder_is_removed_though_a_keeper_begins_in_it(void **state)
{
    (void)state;
    scratch_directory folder = scratch_create();
    engine_process process;
    tn_error err = TN_ERROR_INIT;
    char path[256];
    intruder i = {.stops = false};

    snprintf(i.path, sizeof i.path, "%s/chat-abcdef/lock", folder.path);
    snprintf(path, sizeof path, "%s/chat-abcdef", folder.path);
    assert_int_equal(pthread_create(&i.thread, NULL, make_locks, &i), 0);
    for (int round = 0; round < 300; round++) {
        assert_int_equal(mkdir(path, 0700), 0);
        tn_status status = engine_process_adopt(folder.path, "chat-abcdef", &process, &err);
        if (status != TN_E_NOT_FOUND)
            fail_msg("round %d: %s", round, err.msg);
        assert_int_equal(access(path, F_OK), -1);
    }
    atomic_store(&i.stops, true);
    pthread_join(i.thread, NULL);
    assert_int_equal(rmdir(folder.path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_longest_store),
        cmocka_unit_test(test_a_folder_is_removed_though_a_keeper_begins_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
