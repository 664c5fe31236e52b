/* agreement.c: see agreement.h. Rank 0 compares and decides. A wait has no time of its own: whoever is lost ends the
 * group, and with it every wait.
 */
#include "workers/agreement.h"

#include "group/rendezvous.h"

#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 7 * 24 * 3600 * 1000 };

static void name_key(const char *what, uint32_t rank, char key[48])
{
    snprintf(key, 48, "tn/%s/%u", what, rank);
}

/* ---- the same model ---- */

static size_t line_bytes(const char *line)
{
    return strcspn(line, "\n");
}

/* The first line of ours that theirs has not in the same place. */
static tn_status compare(const char *ours, const char *theirs, uint32_t rank, tn_error *err)
{
    char host[STORE_HOST_MAX + 1] = "an unknown host";

    while (*ours && line_bytes(ours) == line_bytes(theirs) && !strncmp(ours, theirs, line_bytes(ours))) {
        ours += line_bytes(ours) + 1;
        theirs += line_bytes(theirs) + 1;
    }
    if (!*ours && !*theirs)
        return TN_OK;
    rendezvous_host(rank, host, NULL);
    return tn_fail(err, TN_E_ARGUMENT,
                   "rank %u on %.100s does not run what rank 0 runs: it has \"%.*s\", rank 0 \"%.*s\"; give all "
                   "processes the same program, model and settings",
                   rank, host, (int)(line_bytes(theirs) < 100 ? line_bytes(theirs) : 100), theirs,
                   (int)(line_bytes(ours) < 100 ? line_bytes(ours) : 100), ours);
}

/* A worker's text, terminated twice, and its pages. text: AGREEMENT_TEXT_MAX + 1 bytes. */
static tn_status hear_worker(uint32_t rank, char *text, uint64_t *pages, uint32_t group_count, tn_error *err)
{
    char key[48];
    uint64_t n_text = AGREEMENT_TEXT_MAX - 1, n_pages = group_count * sizeof *pages;

    name_key("model", rank, key);
    tn_status status = rendezvous_get(key, text, &n_text, PATIENCE_MS, err);
    if (status != TN_OK)
        return status;
    text[n_text] = text[n_text + 1] = 0; /* whose last line may have no end */
    name_key("pages", rank, key);
    return rendezvous_get(key, pages, &n_pages, PATIENCE_MS, err);
}

static tn_status decide(const tn_group *group, const char *text, uint64_t *pages, uint32_t group_count, tn_error *err)
{
    uint64_t theirs[AGREEMENT_GROUPS_MAX] = {0};
    char *other = calloc(1, AGREEMENT_TEXT_MAX + 1);
    tn_status status = other ? TN_OK : tn_fail(err, TN_E_MEMORY, "what the processes run");

    for (uint32_t rank = 1; rank < group->world && status == TN_OK; rank++) {
        status = hear_worker(rank, other, theirs, group_count, err);
        if (status == TN_OK)
            status = compare(text, other, rank, err);
        for (uint32_t g = 0; g < group_count && status == TN_OK; g++)
            pages[g] = theirs[g] < pages[g] ? theirs[g] : pages[g];
    }
    free(other);
    return status == TN_OK ? rendezvous_put("tn/agreed", pages, group_count * sizeof *pages, err) : status;
}

static tn_status submit_to(const tn_group *group, const char *text, uint64_t *pages, uint32_t group_count,
                           tn_error *err)
{
    char key[48];
    uint64_t n = group_count * sizeof *pages;

    name_key("pages", group->rank, key);
    tn_status status = rendezvous_put(key, pages, n, err);
    name_key("model", group->rank, key);
    if (status == TN_OK)
        status = rendezvous_put(key, text, strlen(text), err);
    return status == TN_OK ? rendezvous_get("tn/agreed", pages, &n, PATIENCE_MS, err) : status;
}

tn_status agreement_reach(workers *workers, const char *text, uint64_t *pages, uint32_t group_count, tn_error *err)
{
    const tn_group *group = workers_group(workers);

    TN_ASSERT(group_count <= AGREEMENT_GROUPS_MAX && strlen(text) < AGREEMENT_TEXT_MAX);
    return (group->rank == 0 ? decide : submit_to)(group, text, pages, group_count, err);
}

/* ---- loaded ---- */

tn_status agreement_loaded(workers *workers, tn_error *err)
{
    const tn_group *group = workers_group(workers);
    char key[48];
    tn_status status = TN_OK;

    name_key("loaded", group->rank, key);
    if (group->rank > 0)
        return rendezvous_put(key, "", 0, err);
    for (uint32_t rank = 1; rank < group->world && status == TN_OK; rank++) {
        uint64_t n = 0;
        name_key("loaded", rank, key);
        status = rendezvous_get(key, NULL, &n, PATIENCE_MS, err);
    }
    return status;
}
