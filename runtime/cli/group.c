/* group.c: `tenon group`: whether the processes of a launcher find each other, before a model is loaded. */
#include "cli/command.h"
#include "group/rendezvous.h"

static tn_status join(const settings *settings, tn_group *ret_group, tn_error *err)
{
    group_identity identity;
    tn_status status = group_identity_find(settings, group_environment, &identity, err);
    if (status != TN_OK)
        return status;
    if (!identity.world)
        return tn_fail(err, TN_E_ARGUMENT,
                       "the settings name no group: set group.launcher to auto, slurm or openmpi, or group.rank, "
                       "group.world_size and group.store");
    fprintf(stderr, "info group: rank %u of %u in group %s, by %s; they meet at %s within %g s\n", identity.rank,
            identity.world, identity.name, identity.source, identity.store,
            settings_number(settings, "group", "join_timeout"));
    return rendezvous_open(settings, &identity, ret_group, err);
}

static tn_status print_members(const tn_group *group, tn_error *err)
{
    char host[STORE_HOST_MAX + 1];
    tn_status status = TN_OK;
    for (uint32_t rank = 0; rank < group->world && status == TN_OK; rank++) {
        status = rendezvous_host(rank, host, err);
        if (status == TN_OK)
            printf("    rank %u on %s\n", rank, host);
    }
    return status;
}

static int run_group(const command *command, int argc, char **argv)
{
    args a;
    settings *settings = NULL;
    tn_error err = TN_ERROR_INIT;
    tn_group group;
    int code = args_parse(command, NULL, 0, argc, argv, &a);

    if (code < 0)
        code = args_take_ini(command, &a);
    if (code >= 0)
        return code;
    tn_status status = settings_read(a.ini, a.sets, &settings, &err);
    if (status == TN_OK)
        status = join(settings, &group, &err);
    if (status == TN_OK) {
        printf("rank %u of %u: %u of %u on its host, %u hosts, group %s\n", group.rank, group.world, group.local_rank,
               group.local_world, group.host_count, group.name);
        status = group.rank == 0 ? print_members(&group, &err) : TN_OK;
    }
    rendezvous_close();
    settings_destroy(settings);
    args_finish(&a);
    return status == TN_OK ? 0 : report(&err);
}

const command command_group = {
    .name = "group",
    .arguments = "[FILE.ini]",
    .summary = "join the processes that a launcher started, and list them",
    .help =
        "Start it as the server would be started (srun tenon group FILE.ini, mpirun tenon group FILE.ini): each "
        "process\n"
        "joins the group of [group] and prints its place, rank 0 also where the others are. Says what keeps it out.",
    .positional_min = 0,
    .positional_max = 1,
    .run = run_group,
};
