/* identity.c: see identity.h. Each launcher fills the same struct; settings override what they name.
 *
 * Sources: srun(1), "output environment variables"; Open MPI's FAQ, "environment variables set at run time".
 */
#include "group/identity.h"

#include "group/node_list.h"

#include <ctype.h>
#include <string.h>

/* What is being asked, and the environment. */
typedef struct identity_search {
    const settings *settings;
    group_variable variable;
    tn_error *err;
} identity_search;

const char *group_environment(const char *name)
{
    return getenv(name);
}

/* ---- values ---- */

static bool is_name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '.' || c == '_';
}

/* A variable that must be a whole number in [low, high]. */
static tn_status read_number(const identity_search *search, const char *name, uint32_t low, uint32_t high,
                             uint32_t *ret_value)
{
    const char *text = search->variable(name);
    uint32_t value = 0, digits = 0;
    for (; text && isdigit((unsigned char)text[digits]) && digits < 9; digits++)
        value = value * 10 + (uint32_t)(text[digits] - '0');
    if (!text || !digits || text[digits] || value < low || value > high)
        return tn_fail(search->err, TN_E_ARGUMENT,
                       "%s is \"%.40s\", not a whole number from %u to %u; correct it, or set group.rank and "
                       "group.world_size",
                       name, text ? text : "", low, high);
    *ret_value = value;
    return TN_OK;
}

/* All of `names` must be set; the first that is not is refused beside one that is. */
static tn_status need_all(const identity_search *search, const char *const *names, uint32_t count, const char *fix)
{
    const char *present = NULL, *absent = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const char **side = search->variable(names[i]) ? &present : &absent;
        if (!*side)
            *side = names[i];
    }
    if (!absent)
        return TN_OK;
    if (!present)
        return tn_fail(search->err, TN_E_ARGUMENT, "%s is not set: %s", absent, fix);
    return tn_fail(search->err, TN_E_ARGUMENT, "%s is set but %s is not: %s", present, absent, fix);
}

/* "slurm-", then text, with whatever may not stand in a name as '_'. */
static tn_status make_name(const identity_search *search, const char *prefix, const char *text,
                           group_identity *identity)
{
    size_t n = (size_t)snprintf(identity->name, sizeof identity->name, "%s%s", prefix, text);
    if (n >= sizeof identity->name)
        return tn_fail(search->err, TN_E_ARGUMENT,
                       "the launcher's name of this job has more than %d bytes: set group.name", GROUP_NAME_MAX);
    for (char *at = identity->name; *at; at++)
        *at = is_name_byte(*at) ? *at : '_';
    return TN_OK;
}

/* ---- Slurm ---- */

static tn_status read_slurm_nodes(const identity_search *search, group_identity *identity)
{
    node_list nodes;
    uint32_t said;
    tn_status status =
        node_list_parse("SLURM_STEP_NODELIST", search->variable("SLURM_STEP_NODELIST"), &nodes, search->err);
    if (status != TN_OK)
        return status;
    identity->host_count = nodes.count;
    snprintf(identity->store, sizeof identity->store, "tcp://%s:%d", nodes.name[0],
             (int)settings_integer(search->settings, "group", "port"));
    node_list_finish(&nodes);
    if (identity->host_count > identity->world)
        return tn_fail(search->err, TN_E_ARGUMENT,
                       "SLURM_STEP_NODELIST lists %u nodes but SLURM_NTASKS says %u processes: start the step with at "
                       "least one task on each node",
                       identity->host_count, identity->world);
    if (!search->variable("SLURM_STEP_NUM_NODES"))
        return TN_OK;
    status = read_number(search, "SLURM_STEP_NUM_NODES", 1, NODE_LIST_MAX, &said);
    if (status == TN_OK && said != identity->host_count)
        status = tn_fail(search->err, TN_E_ARGUMENT,
                         "SLURM_STEP_NUM_NODES says %u but SLURM_STEP_NODELIST lists %u nodes: one of them is from "
                         "another step; start the processes with srun",
                         said, identity->host_count);
    return status;
}

/* Job, step, and which attempt of a requeued job. */
static tn_status name_slurm(const identity_search *search, group_identity *identity)
{
    const char *restart = search->variable("SLURM_RESTART_COUNT");
    char text[GROUP_NAME_MAX + 1];
    if ((size_t)snprintf(text, sizeof text, "%s.%s%s%s", search->variable("SLURM_JOB_ID"),
                         search->variable("SLURM_STEP_ID"), restart ? "." : "", restart ? restart : "") >= sizeof text)
        return tn_fail(search->err, TN_E_ARGUMENT, "SLURM_JOB_ID and SLURM_STEP_ID are too long: set group.name");
    return make_name(search, "slurm-", text, identity);
}

static tn_status ask_slurm(const identity_search *search, group_identity *identity)
{
    static const char *const names[] = {"SLURM_PROCID",        "SLURM_NTASKS", "SLURM_LOCALID",
                                        "SLURM_STEP_NODELIST", "SLURM_JOB_ID", "SLURM_STEP_ID"};
    identity->source = "Slurm";
    tn_status status = need_all(search, names, sizeof names / sizeof *names,
                                "start every process with srun, which sets it, or set group.rank and group.world_size");
    if (status == TN_OK)
        status = read_number(search, "SLURM_NTASKS", 1, STORE_WORLD_MAX, &identity->world);
    if (status == TN_OK)
        status = read_number(search, "SLURM_PROCID", 0, identity->world - 1, &identity->rank);
    if (status == TN_OK)
        status = read_number(search, "SLURM_LOCALID", 0, identity->world - 1, &identity->local_rank);
    if (status == TN_OK)
        status = read_slurm_nodes(search, identity);
    return status == TN_OK ? name_slurm(search, identity) : status;
}

/* ---- Open MPI ---- */

static tn_status ask_open_mpi(const identity_search *search, group_identity *identity)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"};
    const char *job = search->variable("PMIX_NAMESPACE");
    identity->source = "Open MPI";
    tn_status status =
        need_all(search, names, sizeof names / sizeof *names,
                 "start every process with mpirun, which sets it, or set group.rank and group.world_size");
    if (status == TN_OK)
        status = read_number(search, "OMPI_COMM_WORLD_SIZE", 1, STORE_WORLD_MAX, &identity->world);
    if (status == TN_OK)
        status = read_number(search, "OMPI_COMM_WORLD_RANK", 0, identity->world - 1, &identity->rank);
    if (status == TN_OK)
        status = read_number(search, "OMPI_COMM_WORLD_LOCAL_RANK", 0, identity->world - 1, &identity->local_rank);
    return status == TN_OK && job ? make_name(search, "mpi-", job, identity) : status;
}

/* ---- which launcher ---- */

static tn_status ask_any(const identity_search *search, group_identity *identity)
{
    bool slurm = search->variable("SLURM_PROCID") != NULL, open_mpi = search->variable("OMPI_COMM_WORLD_RANK") != NULL;
    group_identity other = *identity;
    if (!slurm && !open_mpi)
        return tn_fail(
            search->err, TN_E_ARGUMENT,
            "group.launcher = auto, but neither SLURM_PROCID nor OMPI_COMM_WORLD_RANK is set: start the processes "
            "with srun or mpirun, or set group.rank and group.world_size");
    tn_status status = slurm ? ask_slurm(search, identity) : ask_open_mpi(search, identity);
    if (status != TN_OK || !slurm || !open_mpi)
        return status;
    status = ask_open_mpi(search, &other);
    if (status == TN_OK && (other.rank != identity->rank || other.world != identity->world))
        status =
            tn_fail(search->err, TN_E_ARGUMENT,
                    "SLURM_PROCID and SLURM_NTASKS say rank %u of %u, OMPI_COMM_WORLD_RANK and _SIZE say rank %u of "
                    "%u: set group.launcher to openmpi if mpirun started this process, else to slurm",
                    identity->rank, identity->world, other.rank, other.world);
    return status;
}

static tn_status ask_launcher(const identity_search *search, group_identity *identity)
{
    const char *launcher = settings_string(search->settings, "group", "launcher");
    if (!strcmp(launcher, "slurm"))
        return ask_slurm(search, identity);
    if (!strcmp(launcher, "openmpi"))
        return ask_open_mpi(search, identity);
    return strcmp(launcher, "none") ? ask_any(search, identity) : TN_OK;
}

/* ---- settings ---- */

static bool is_set(const identity_search *search, const char *key)
{
    return settings_string(search->settings, "group", key) != NULL;
}

static uint32_t number_of(const identity_search *search, const char *key)
{
    return (uint32_t)settings_integer(search->settings, "group", key);
}

/* rank and world_size come together, from one of the two. */
static tn_status find_rank(const identity_search *search, group_identity *identity)
{
    bool rank = is_set(search, "rank"), world = is_set(search, "world_size");
    if (!rank && !world)
        return ask_launcher(search, identity);
    if (!rank || !world)
        return tn_fail(search->err, TN_E_ARGUMENT,
                       "group.%s is set but group.%s is not: set both, or neither and let group.launcher say it",
                       rank ? "rank" : "world_size", rank ? "world_size" : "rank");
    identity->source = "[group] rank and world_size";
    identity->rank = number_of(search, "rank");
    identity->world = number_of(search, "world_size");
    snprintf(identity->name, sizeof identity->name, "tenon");
    if (identity->rank >= identity->world)
        return tn_fail(search->err, TN_E_ARGUMENT,
                       "group.rank = %u, but group.world_size = %u: ranks are counted from 0, so %u is the last",
                       identity->rank, identity->world, identity->world - 1);
    return TN_OK;
}

static tn_status override_name(const identity_search *search, group_identity *identity)
{
    const char *name = settings_string(search->settings, "group", "name");
    if (!name && !*identity->name)
        return tn_fail(search->err, TN_E_ARGUMENT,
                       "%s gave this job no name (PMIX_NAMESPACE): set group.name to one that no other job has",
                       identity->source);
    if (!name)
        return TN_OK;
    size_t n = 0;
    while (is_name_byte(name[n]))
        n++;
    if (name[n] || n > GROUP_NAME_MAX || *name == '.')
        return tn_fail(search->err, TN_E_ARGUMENT,
                       "group.name = %.60s: 1 to %d letters, digits, '.', '_' and '-', not beginning with a '.'", name,
                       GROUP_NAME_MAX);
    memcpy(identity->name, name, n + 1);
    return TN_OK;
}

static tn_status override_store(const identity_search *search, group_identity *identity)
{
    const char *store = settings_string(search->settings, "group", "store");
    if (settings_is_auto(search->settings, "group", "store")) {
        if (*identity->store)
            return TN_OK;
        return tn_fail(
            search->err, TN_E_ARGUMENT,
            "%s does not say where the processes can meet: set group.store to tcp://HOST:PORT, an address of "
            "rank 0's machine, or to file:/FOLDER, one that all machines share",
            identity->source);
    }
    if (strncmp(store, "file:/", 6) && strncmp(store, "tcp://", 6))
        return tn_fail(search->err, TN_E_ARGUMENT, "group.store = %.80s: expected file:/FOLDER or tcp://HOST:PORT",
                       store);
    if (strlen(store) > GROUP_STORE_MAX)
        return tn_fail(search->err, TN_E_ARGUMENT, "group.store has more than %d bytes", GROUP_STORE_MAX);
    snprintf(identity->store, sizeof identity->store, "%s", store);
    return TN_OK;
}

/* Settings of a group without a group would be ignored in silence. */
static tn_status check_no_group(const identity_search *search)
{
    static const char *const keys[] = {"local_rank", "name", "secret_file"};
    const char *set = settings_is_auto(search->settings, "group", "store") ? NULL : "store";
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !set; i++)
        set = is_set(search, keys[i]) ? keys[i] : NULL;
    if (!set)
        return TN_OK;
    return tn_fail(
        search->err, TN_E_ARGUMENT,
        "group.%s is set, but nothing says which process this is: set group.launcher to auto, slurm or openmpi, "
        "or group.rank and group.world_size",
        set);
}

tn_status group_identity_find(const settings *settings, group_variable variable, group_identity *ret_identity,
                              tn_error *err)
{
    identity_search search = {.settings = settings, .variable = variable, .err = err};
    group_identity identity = {.local_rank = GROUP_LOCAL_RANK_UNKNOWN};
    tn_status status = find_rank(&search, &identity);
    if (status == TN_OK && !identity.world)
        status = check_no_group(&search);
    if (status == TN_OK && identity.world)
        status = override_name(&search, &identity);
    if (status == TN_OK && identity.world)
        status = override_store(&search, &identity);
    if (status == TN_OK && identity.world && is_set(&search, "local_rank"))
        identity.local_rank = number_of(&search, "local_rank");
    if (status == TN_OK)
        *ret_identity = identity;
    return status;
}
