/* test_group_identity.c: who a process is, from settings and from made-up environments of launchers; and who refuses to
 * be half of somebody. */
#include "cmocka_test.h"

#include "group/identity.h"
#include "group/secret.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "NAME=value", NULL-terminated; later ones win. */
static const char *const *environments[3];

static const char *variable(const char *name)
{
    const char *found = NULL;
    for (int e = 0; e < 3; e++) {
        for (const char *const *at = environments[e]; at && *at; at++) {
            size_t n = strlen(name);
            if (!strncmp(*at, name, n) && (*at)[n] == '=')
                found = (*at)[n + 1] == '!' ? NULL : *at + n + 1; /* "NAME=!": not set */
        }
    }
    return found;
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *const slurm[] = {"SLURM_PROCID=5",
                                    "SLURM_NTASKS=8",
                                    "SLURM_LOCALID=1",
                                    "SLURM_STEP_NODELIST=gpu[01-04]",
                                    "SLURM_JOB_ID=99",
                                    "SLURM_STEP_ID=2",
                                    NULL};
static const char *const open_mpi[] = {"OMPI_COMM_WORLD_RANK=3", "OMPI_COMM_WORLD_SIZE=4",
                                       "OMPI_COMM_WORLD_LOCAL_RANK=1", "PMIX_NAMESPACE=prterun-host-7@1", NULL};

static tn_status find(const char *const *sets, const char *const *base, const char *const *more,
                      group_identity *identity, tn_error *err)
{
    settings *settings = NULL;
    if (settings_read(NULL, sets, &settings, err) != TN_OK)
        fail_msg("%s", err->msg);
    environments[0] = base;
    environments[1] = more;
    tn_status status = group_identity_find(settings, variable, identity, err);
    settings_destroy(settings);
    return status;
}

static group_identity must_find(const char *const *sets, const char *const *base, const char *const *more)
{
    tn_error err = TN_ERROR_INIT;
    group_identity identity;
    if (find(sets, base, more, &identity, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return identity;
}

/* Every word must be in the refusal. */
static void must_refuse(const char *const *sets, const char *const *base, const char *const *more,
                        const char *const *words)
{
    tn_error err = TN_ERROR_INIT;
    group_identity identity;
    if (find(sets, base, more, &identity, &err) == TN_OK)
        fail_msg("not refused: expected \"%s\"", words[0]);
    for (; *words; words++) {
        if (!strstr(err.msg, *words))
            fail_msg("\"%s\" is not in: %s", *words, err.msg);
    }
}

static void must_be(const group_identity *identity, const char *source, const char *name, uint32_t rank, uint32_t world,
                    uint32_t local_rank, uint32_t host_count, const char *store)
{
    assert_string_equal(identity->source, source);
    assert_string_equal(identity->name, name);
    assert_int_equal(identity->rank, rank);
    assert_int_equal(identity->world, world);
    assert_int_equal(identity->local_rank, local_rank);
    assert_int_equal(identity->host_count, host_count);
    assert_string_equal(identity->store, store);
}

static void test_nobody_asks_a_launcher_uninvited(void **state)
{
    (void)state;
    assert_int_equal(must_find(NULL, slurm, open_mpi).world, 0);
}

static void test_slurm_says_all(void **state)
{
    (void)state;
    group_identity identity = must_find(LIST("group.launcher=slurm"), slurm, NULL);
    must_be(&identity, "Slurm", "slurm-99.2", 5, 8, 1, 4, "tcp://gpu01:29400");
    identity = must_find(LIST("group.launcher=auto", "group.port=1234"), slurm,
                         LIST("SLURM_RESTART_COUNT=3", "SLURM_STEP_NUM_NODES=4"));
    must_be(&identity, "Slurm", "slurm-99.2.3", 5, 8, 1, 4, "tcp://gpu01:1234");
}

static void test_open_mpi_says_all_but_the_store(void **state)
{
    (void)state;
    group_identity identity = must_find(LIST("group.launcher=auto", "group.store=file:/shared"), open_mpi, NULL);
    must_be(&identity, "Open MPI", "mpi-prterun-host-7_1", 3, 4, 1, 0, "file:/shared");
    must_refuse(LIST("group.launcher=openmpi"), open_mpi, NULL,
                LIST("Open MPI does not say where the processes can meet", "group.store"));
    must_refuse(LIST("group.launcher=openmpi", "group.store=tcp://a:1"), open_mpi, LIST("PMIX_NAMESPACE=!"),
                LIST("PMIX_NAMESPACE", "group.name"));
}

static void test_settings_win_and_override(void **state)
{
    (void)state;
    group_identity identity =
        must_find(LIST("group.rank=1", "group.world_size=2", "group.store=tcp://10.0.0.1:5000"), slurm, open_mpi);
    must_be(&identity, "[group] rank and world_size", "tenon", 1, 2, GROUP_LOCAL_RANK_UNKNOWN, 0,
            "tcp://10.0.0.1:5000");
    identity = must_find(LIST("group.launcher=slurm", "group.rank=0", "group.world_size=1", "group.store=file:/x"),
                         slurm, NULL);
    must_be(&identity, "[group] rank and world_size", "tenon", 0, 1, GROUP_LOCAL_RANK_UNKNOWN, 0, "file:/x");
    identity = must_find(LIST("group.launcher=slurm", "group.name=mine", "group.local_rank=0", "group.store=file:/x"),
                         slurm, NULL);
    must_be(&identity, "Slurm", "mine", 5, 8, 0, 4, "file:/x");
}

static void test_half_given_identities_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"SLURM_PROCID",        "SLURM_NTASKS", "SLURM_LOCALID",
                                        "SLURM_STEP_NODELIST", "SLURM_JOB_ID", "SLURM_STEP_ID"};
    char unset[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(unset, sizeof unset, "%s=!", names[i]);
        must_refuse(LIST("group.launcher=slurm"), slurm, LIST(unset),
                    LIST(names[i], "is not: start every process with srun"));
    }
    must_refuse(LIST("group.launcher=slurm"), NULL, NULL, LIST("SLURM_PROCID is not set"));
    must_refuse(LIST("group.launcher=openmpi", "group.store=file:/x"), open_mpi, LIST("OMPI_COMM_WORLD_SIZE=!"),
                LIST("OMPI_COMM_WORLD_RANK is set but OMPI_COMM_WORLD_SIZE is not", "mpirun"));
    must_refuse(LIST("group.launcher=auto"), NULL, NULL,
                LIST("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "srun or mpirun"));
    must_refuse(LIST("group.rank=1"), NULL, NULL, LIST("group.rank is set but group.world_size is not"));
    must_refuse(LIST("group.world_size=2", "group.launcher=slurm"), slurm, NULL,
                LIST("group.world_size is set but group.rank is not"));
    must_refuse(LIST("group.rank=0", "group.world_size=2"), NULL, NULL, LIST("group.store"));
}

static void test_inconsistent_identities_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *change, *words;
    } cases[] = {
        {"SLURM_PROCID=8", "SLURM_PROCID is \"8\", not a whole number from 0 to 7"},
        {"SLURM_PROCID=-1", "SLURM_PROCID is \"-1\""},
        {"SLURM_PROCID=1x", "SLURM_PROCID is \"1x\""},
        {"SLURM_PROCID=", "SLURM_PROCID is \"\""},
        {"SLURM_PROCID=4294967297", "SLURM_PROCID is \"4294967297\""},
        {"SLURM_NTASKS=0", "SLURM_NTASKS is \"0\", not a whole number from 1 to 1024"},
        {"SLURM_NTASKS=1025", "SLURM_NTASKS is \"1025\""},
        {"SLURM_LOCALID=8", "SLURM_LOCALID is \"8\""},
        {"SLURM_STEP_NODELIST=gpu[1", "SLURM_STEP_NODELIST is no list of nodes"},
        {"SLURM_STEP_NODELIST=gpu[1-9]", "SLURM_STEP_NODELIST lists 9 nodes but SLURM_NTASKS says 8 processes"},
        {"SLURM_STEP_NUM_NODES=3", "SLURM_STEP_NUM_NODES says 3 but SLURM_STEP_NODELIST lists 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        must_refuse(LIST("group.launcher=slurm"), slurm, LIST(cases[i].change), LIST(cases[i].words));
    must_refuse(LIST("group.rank=2", "group.world_size=2", "group.store=file:/x"), NULL, NULL,
                LIST("group.rank = 2", "1 is the last"));
    must_refuse(LIST("group.launcher=auto", "group.store=file:/x"), slurm, open_mpi,
                LIST("rank 5 of 8", "rank 3 of 4", "group.launcher to openmpi"));
}

static void test_both_launchers_may_agree(void **state)
{
    (void)state;
    environments[2] = LIST("OMPI_COMM_WORLD_RANK=5", "OMPI_COMM_WORLD_SIZE=8");
    group_identity identity = must_find(LIST("group.launcher=auto"), slurm, open_mpi);
    environments[2] = NULL;
    assert_string_equal(identity.source, "Slurm");
}

static void test_settings_of_no_group_are_refused(void **state)
{
    (void)state;
    static const char *const sets[] = {"group.store=file:/x", "group.name=a", "group.local_rank=0",
                                       "group.secret_file=/x"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        must_refuse(LIST(sets[i]), NULL, NULL, LIST("nothing says which process this is", "group.launcher"));
}

static void test_names_and_stores_of_other_forms_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"group.name=a/b", "group.name=..", "group.name=a b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        must_refuse(LIST("group.rank=0", "group.world_size=1", "group.store=file:/x", names[i]), NULL, NULL,
                    LIST("group.name", "letters"));
    static const char *const stores[] = {"group.store=file:relative", "group.store=/x", "group.store=http://a:1"};
    for (size_t i = 0; i < sizeof stores / sizeof *stores; i++)
        must_refuse(LIST("group.rank=0", "group.world_size=1", stores[i]), NULL, NULL,
                    LIST("expected file:/FOLDER or tcp://HOST:PORT"));
}

/* ---- the secret ---- */

static char secret_path[] = "/tmp/tenon-secret-XXXXXX";

static tn_status read_secret(const char *file, const char *const *environment, group_secret *secret, tn_error *err)
{
    char set[64] = "group.launcher=none";
    settings *settings = NULL;
    if (file)
        snprintf(set, sizeof set, "group.secret_file=%s", file);
    assert_int_equal(settings_read(NULL, LIST(set), &settings, err), TN_OK);
    environments[0] = environment;
    environments[1] = NULL;
    tn_status status = group_secret_read(settings, variable, secret, err);
    settings_destroy(settings);
    return status;
}

static void write_secret(const char *text, mode_t mode)
{
    FILE *file = fopen(secret_path, "w");
    assert_true(file && fputs(text, file) >= 0 && fclose(file) == 0 && chmod(secret_path, mode) == 0);
}

static void test_the_secret_comes_from_a_file_or_the_environment(void **state)
{
    (void)state;
    group_secret secret;
    tn_error err = TN_ERROR_INIT;
    int fd = mkstemp(secret_path);
    assert_true(fd >= 0 && close(fd) == 0);
    assert_int_equal(read_secret(NULL, LIST("TENON_GROUP_SECRET=0123456789abcdef"), &secret, &err), TN_OK);
    assert_int_equal(secret.n, 16);
    write_secret("of a file, and long\r\n", 0600);
    assert_int_equal(read_secret(secret_path, LIST("TENON_GROUP_SECRET=0123456789abcdef"), &secret, &err), TN_OK);
    assert_int_equal(secret.n, 19);
    assert_memory_equal(secret.bytes, "of a file, and long", 19);
    write_secret("of a file, and long", 0640);
    assert_int_equal(read_secret(secret_path, NULL, &secret, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "chmod 600"));
    write_secret("short\n", 0600);
    assert_int_equal(read_secret(secret_path, NULL, &secret, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "fewer than 16 bytes"));
    unlink(secret_path);
    assert_int_equal(read_secret(secret_path, NULL, &secret, &err), TN_E_IO);
    assert_int_equal(read_secret(NULL, NULL, &secret, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "group.secret_file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_asks_a_launcher_uninvited),
        cmocka_unit_test(test_slurm_says_all),
        cmocka_unit_test(test_open_mpi_says_all_but_the_store),
        cmocka_unit_test(test_settings_win_and_override),
        cmocka_unit_test(test_half_given_identities_are_refused),
        cmocka_unit_test(test_inconsistent_identities_are_refused),
        cmocka_unit_test(test_both_launchers_may_agree),
        cmocka_unit_test(test_settings_of_no_group_are_refused),
        cmocka_unit_test(test_names_and_stores_of_other_forms_are_refused),
        cmocka_unit_test(test_the_secret_comes_from_a_file_or_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
