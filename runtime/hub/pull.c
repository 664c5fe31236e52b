/* runtime/hub/pull.c: see pull.h. The hub is asked which commit and which files with which hashes; those that the store
 * lacks are downloaded; then all are hashed, and what does not have the hash that was promised is thrown away.
 */
#include "hub/pull.h"

#include "hub/hub_answer.h"
#include "hub/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct pull {
    registry *registry;
    const pull_request *request;
    curl_library curl;
    hub_endpoint endpoint;
    char name[2 * NAME_BYTES_MAX + 2]; /* ORG/NAME, for messages */
    hub_answer answer;
    staging staging;
    char directory[PATH_MAX];        /* where its files lie */
    char address[HUB_URL_BYTES_MAX]; /* what the address of each begins with */
    transfer *transfers;             /* one per file of the answer */
    bool *stored;                    /* taken from the store, whose contents were hashed then */
    manifest_file *files;
} pull;

static transfer_rules rules_of(const pull *pull, meter *meter)
{
    return (transfer_rules){.curl = &pull->curl,
                            .endpoint = &pull->endpoint,
                            .token = pull->request->token,
                            .ca_file = pull->request->ca_file,
                            .parallel = pull->request->parallel,
                            .retries = pull->request->retries,
                            .meter = meter};
}

/* ---- what there is ---- */

static tn_status check_request(pull *pull, tn_error *err)
{
    const pull_request *request = pull->request;
    const char *slash = strchr(request->repository, '/');
    char owner[NAME_BYTES_MAX + 2];
    tn_status status = TN_OK;

    if (!slash || slash - request->repository > NAME_BYTES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "'%.200s' is no repository; it takes ORG/NAME", request->repository);
    snprintf(owner, sizeof owner, "%.*s", (int)(slash - request->repository), request->repository);
    status = name_check("the repository's owner", owner, err);
    if (status == TN_OK)
        status = name_check("the repository", slash + 1, err);
    if (status == TN_OK && (strlen(request->revision) > NAME_BYTES_MAX || !request->revision[0]))
        status = tn_fail(err, TN_E_ARGUMENT, "the revision is empty or longer than %d bytes", NAME_BYTES_MAX);
    if (status == TN_OK && request->token && (!request->token[0] || strpbrk(request->token, " \t\r\n")))
        status = tn_fail(err, TN_E_ARGUMENT, "the token is empty or holds spaces");
    snprintf(pull->name, sizeof pull->name, "%s", request->repository);
    return status == TN_OK ? registration_check(request->registration, err) : status;
}

static tn_status ask_hub(pull *pull, tn_error *err)
{
    char url[HUB_URL_BYTES_MAX];
    transfer asked = {
        .name = pull->name, .url = url, .fd = -1, .bytes = TRANSFER_UNKNOWN, .text_max = HUB_ANSWER_BYTES_MAX};
    const transfer_rules rules = rules_of(pull, NULL);

    snprintf(url, sizeof url, "%s/api/models/%s/revision/", pull->endpoint.url, pull->name);
    bool fits = hub_url_append(url, pull->request->revision, false) && strlen(url) + 16 < sizeof url;
    TN_ASSERT(fits);
    strcat(url, "?blobs=true");
    tn_status status = transfers_run(&rules, &asked, 1, err);
    if (status == TN_OK)
        status = hub_answer_parse(pull->name, asked.text ? asked.text : "", asked.have, &pull->answer, err);
    free(asked.text);
    return status == TN_OK ? hub_answer_choose(&pull->answer, pull->name, pull->request->choice, err) : status;
}

/* Fails early where the files chosen are no model by their names. */
static tn_status list_files(pull *pull, tn_error *err)
{
    const char *entry;

    pull->files = calloc(pull->answer.count, sizeof *pull->files);
    pull->transfers = calloc(pull->answer.count, sizeof *pull->transfers);
    pull->stored = calloc(pull->answer.count, sizeof *pull->stored);
    if (!pull->files || !pull->transfers || !pull->stored)
        return tn_fail(err, TN_E_MEMORY, "out of memory for %u files", pull->answer.count);
    snprintf(pull->address, sizeof pull->address, "%s/%s/resolve/%s/", pull->endpoint.url, pull->name,
             pull->answer.commit);
    for (uint32_t i = 0; i < pull->answer.count; i++) {
        pull->files[i] = (manifest_file){.name = pull->answer.files[i].name, .bytes = pull->answer.files[i].bytes};
        pull->transfers[i] = (transfer){.name = pull->files[i].name,
                                        .url = pull->address,
                                        .directory = pull->directory,
                                        .fd = -1,
                                        .bytes = pull->files[i].bytes};
    }
    return manifest_choose_entry(pull->files, pull->answer.count, &entry, err);
}

/* The same request finds the same folder. */
static digest key_of(const pull *pull)
{
    const file_choice *choice = pull->request->choice;
    file_hash hash;
    digest key;
    char git[GIT_HEX + 1];

    file_hash_init(&hash, 0);
    file_hash_update(&hash, pull->endpoint.url, strlen(pull->endpoint.url) + 1);
    file_hash_update(&hash, pull->name, strlen(pull->name) + 1);
    file_hash_update(&hash, pull->answer.commit, sizeof pull->answer.commit);
    for (uint32_t i = 0; i < choice->include_count; i++)
        file_hash_update(&hash, choice->include[i], strlen(choice->include[i]) + 1);
    file_hash_update(&hash, "", 1);
    for (uint32_t i = 0; i < choice->exclude_count; i++)
        file_hash_update(&hash, choice->exclude[i], strlen(choice->exclude[i]) + 1);
    file_hash_finish(&hash, &key, git);
    return key;
}

/* ---- download ---- */

/* What an earlier pull left under the name is gone on with only if it is ours alone and may still grow. A link to a
 * blob of the store, which an earlier answer of the hub had us take, is none that may be written to: what the hub says
 * of the same commit may have changed. */
static bool may_go_on(const struct stat *entry, uint64_t bytes)
{
    uint64_t have = (uint64_t)entry->st_size;
    return S_ISREG(entry->st_mode) && entry->st_nlink == 1 &&
           (have == bytes || (have < bytes && (entry->st_mode & S_IWUSR)));
}

/* Takes the file from the store, or goes on with what an earlier pull received. */
static tn_status find_file(pull *pull, uint32_t i, meter *meter, tn_error *err)
{
    const hub_file *file = &pull->answer.files[i];
    transfer *t = &pull->transfers[i];
    char path[PATH_MAX];
    struct stat entry;
    digest digest;
    tn_status status = TN_OK;

    if (digest_parse(file->sha256, &digest))
        status = staging_take_blob(&pull->staging, file->name, &digest, file->bytes, meter, &pull->stored[i], err);
    if (status == TN_OK && pull->stored[i]) {
        pull->files[i].digest = digest;
        t->done = true;
        return TN_OK;
    }
    if (status == TN_OK)
        status = staging_file_path(&pull->staging, file->name, path, err);
    if (status != TN_OK)
        return status;
    bool there = lstat(path, &entry) == 0;
    if (there && !may_go_on(&entry, file->bytes)) {
        if (unlink(path) != 0)
            return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
        there = false;
    }
    t->have = there ? (uint64_t)entry.st_size : 0;
    t->done = there && t->have == file->bytes;
    meter->done += t->have;
    return TN_OK;
}

static tn_status download(pull *pull, tn_error *err)
{
    weights_progress progress = pull->request->begin("pulling");
    meter meter = {.progress = &progress, .total = pull->answer.bytes};
    const transfer_rules rules = rules_of(pull, &meter);
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < pull->answer.count && status == TN_OK; i++)
        status = find_file(pull, i, &meter, err);
    return status == TN_OK ? transfers_run(&rules, pull->transfers, pull->answer.count, err) : status;
}

/* ---- check ---- */

static tn_status check_file(pull *pull, uint32_t i, meter *meter, tn_error *err)
{
    const hub_file *file = &pull->answer.files[i];
    char path[PATH_MAX], git[GIT_HEX + 1];
    struct meter quiet = {0};
    bool shared;

    if (pull->stored[i]) {
        meter_add(meter, file->bytes);
        return TN_OK;
    }
    tn_status status = staging_file_path(&pull->staging, file->name, path, err);
    if (status != TN_OK)
        return status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    status = hash_file(fd, path, file->bytes, meter, &pull->files[i].digest, git, err);
    if (status == TN_OK && (fchmod(fd, 0444) != 0 || fsync(fd) != 0))
        status = tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    close(fd);
    if (status != TN_OK)
        return status;
    bool right = file->sha256[0] ? strcmp(file->sha256, pull->files[i].digest.hex) == 0 : strcmp(file->git, git) == 0;
    if (!right) {
        unlink(path);
        return tn_fail(err, TN_E_CORRUPT,
                       "%.100s: '%.100s' does not have the hash that the hub promised, and was thrown away; pull again",
                       pull->name, file->name);
    }
    return staging_take_blob(&pull->staging, file->name, &pull->files[i].digest, file->bytes, &quiet, &shared, err);
}

static tn_status check(pull *pull, tn_error *err)
{
    weights_progress progress = pull->request->begin("checking");
    meter meter = {.progress = &progress, .total = pull->answer.bytes};
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < pull->answer.count && status == TN_OK; i++)
        status = check_file(pull, i, &meter, err);
    return status;
}

static tn_status publish(pull *pull, registered *ret_registered, tn_error *err)
{
    manifest manifest = {0};
    json_t *source = json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", "hub", "path", pull->endpoint.url, "repository",
                               pull->name, "revision", pull->answer.commit, "asked", pull->request->revision);

    if (!source)
        return tn_fail(err, TN_E_ARGUMENT, "the revision is not UTF-8");
    tn_status status = manifest_create(pull->directory, pull->files, pull->answer.count, source, &manifest, err);
    if (status == TN_OK)
        status = staging_publish(&pull->staging, &manifest, pull->request->registration, ret_registered, err);
    manifest_finish(&manifest);
    json_decref(source);
    return status;
}

static void finish(pull *pull)
{
    staging_close(&pull->staging);
    free(pull->transfers);
    free(pull->stored);
    free(pull->files);
    hub_answer_finish(&pull->answer);
}

tn_status registry_pull(registry *registry, const pull_request *request, registered *ret_registered, tn_error *err)
{
    pull pull = {.registry = registry, .request = request, .staging.lock = -1};

    tn_status status = check_request(&pull, err);
    if (status == TN_OK)
        status = curl_library_load(&pull.curl, err);
    if (status == TN_OK)
        status = hub_endpoint_parse(&pull.curl, request->endpoint, &pull.endpoint, err);
    if (status == TN_OK)
        status = ask_hub(&pull, err);
    if (status == TN_OK)
        status = list_files(&pull, err);
    if (status == TN_OK) {
        digest key = key_of(&pull);
        status = staging_open(registry, key.hex, &pull.staging, err);
    }
    if (status == TN_OK) {
        staging_directory(&pull.staging, pull.directory);
        status = download(&pull, err);
    }
    if (status == TN_OK)
        status = check(&pull, err);
    if (status == TN_OK)
        status = publish(&pull, ret_registered, err);
    finish(&pull);
    return status;
}
