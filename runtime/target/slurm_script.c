/* slurm_script.c: see slurm_script.h.
 *
 * Names of files are relative to the job's folder (sbatch --chdir), so that no path stands in a #SBATCH line, whose
 * quoting is Slurm's own, nor in --output, where '%' means something. What an operator chooses there is checked for
 * characters that mean nothing to either; the one path in the script, of the program, is quoted for the shell.
 * Source: sbatch(1), srun(1), scancel(1) of 22.05.
 */
#include "target/slurm_script.h"

#include "base/hex.h"

#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { SECRET_BYTES = 32, HOST_BYTES = 256, SIGNAL_SECONDS_MAX = 65535 /* of --signal */ };

/* ---- what stands in a #SBATCH line ---- */

static tn_status check_word(const settings *settings, const char *key, const char *word, tn_error *err)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.,:=+@*&|()[]-";

    if (word[strspn(word, allowed)] || word[0] == '-')
        return settings_fail(settings, "target slurm", key, TN_E_ARGUMENT,
                             "it is one word of letters, digits and _.,:=+@*&|()[]-, not beginning with '-'", err);
    return TN_OK;
}

static tn_status put_choices(const settings *settings, FILE *out, tn_error *err)
{
    static const char *const keys[] = {"partition", "account", "qos", "constraint", "reservation", "time"};
    tn_status status = TN_OK;

    for (size_t i = 0; status == TN_OK && i < sizeof keys / sizeof *keys; i++) {
        const char *word = settings_string(settings, "target slurm", keys[i]);
        if (!word)
            continue;
        status = check_word(settings, keys[i], word, err);
        fprintf(out, "#SBATCH --%s=%s\n", keys[i], word);
    }
    return status;
}

static unsigned long long memory_mib(const target_service *service)
{
    const uint64_t mib = 1 << 20;
    return (service->host_bytes + target_beside_bytes(service->gpus) + mib - 1) / mib;
}

static uint32_t cpus(const settings *settings, const target_service *service)
{
    return settings_string(settings, "target slurm", "cpus")
               ? (uint32_t)settings_integer(settings, "target slurm", "cpus")
               : service->cpus;
}

/* What comes by the submitter's environment would hold tokens as well: jobs begin with that of a login. */
static tn_status put_request(const settings *settings, const target_service *service, FILE *out, tn_error *err)
{
    const char *gres = settings_string(settings, "target slurm", "gres");
    tn_status status = check_word(settings, "gres", gres, err);

    if (service->drain_s > SIGNAL_SECONDS_MAX - SLURM_GRACE_S)
        return tn_fail(err, TN_E_ARGUMENT,
                       "engine.drain_timeout: Slurm warns a job at most %d s before its time limit, so that it drains "
                       "at most %d s",
                       SIGNAL_SECONDS_MAX, SIGNAL_SECONDS_MAX - SLURM_GRACE_S);
    fprintf(out,
            "#SBATCH --job-name=tenon-%s\n"
            "#SBATCH --output=%%j.log\n"
            "#SBATCH --open-mode=append\n"
            "#SBATCH --export=NONE\n"
            "#SBATCH --requeue\n"
            "#SBATCH --signal=B:USR1@%u\n"
            "#SBATCH --nodes=%u\n"
            "#SBATCH --ntasks-per-node=1\n"
            "#SBATCH --cpus-per-task=%u\n"
            "#SBATCH --mem=%lluM\n",
            service->name, service->drain_s + SLURM_GRACE_S, service->nodes, cpus(settings, service),
            memory_mib(service));
    if (service->gpus)
        fprintf(out, "#SBATCH --gres=%s:%u\n", gres, service->gpus);
    return status == TN_OK ? put_choices(settings, out, err) : status;
}

/* ---- what the shell reads ---- */

/* 'it'\''s' */
static void put_quoted(const char *text, FILE *out)
{
    putc('\'', out);
    for (; *text; text++)
        fputs(*text == '\'' ? "'\\''" : (char[]){*text, '\0'}, out);
    putc('\'', out);
}

/* Signals go to the shell alone. It tells the server to drain until that has heard of it, since its step may only just
 * begin; a signal ends a wait, too. */
static const char before[] = "\n"
                             "export SLURM_EXPORT_ENV=ALL\n"
                             "id=$SLURM_JOB_ID\n"
                             "asked=\n"
                             "step=\n"
                             "telling=\n"
                             "drain() {\n"
                             "    asked=$1\n"
                             "    if [ -z \"$step\" ] || [ -n \"$telling\" ]; then\n"
                             "        return\n"
                             "    fi\n"
                             "    telling=yes\n"
                             "    while kill -0 \"$step\" 2>/dev/null; do\n"
                             "        scancel --quiet --signal=TERM \"$id\"\n"
                             "        sleep 1\n"
                             "    done &\n"
                             "}\n"
                             "trap 'drain again' USR1 # the time limit is near\n"
                             "trap 'drain stop' USR2  # `tenon service` wants it to end, and may say so again\n"
                             "rm -f \"$id.address\" \"$id.status\"\n"
                             "[ ! -e \"$id.stop\" ] || exit 0\n"
                             "\n";

static const char after[] =
    "step=$!\n"
    "[ -z \"$asked\" ] || drain \"$asked\"\n"
    "while :; do\n"
    "    wait \"$step\"\n"
    "    code=$?\n"
    "    kill -0 \"$step\" 2>/dev/null || break\n"
    "done\n"
    "ready=no\n"
    "[ ! -e \"$id.address\" ] || ready=yes\n"
    "rm -f \"$id.address\"\n"
    "[ \"$asked\" != stop ] && [ ! -e \"$id.stop\" ] || exit 0\n"
    "if [ \"$asked\" = again ]; then\n"
    "    rm -f \"$id.failures\"\n"
    "    exec scontrol requeue \"$id\"\n"
    "fi\n"
    "[ \"$code\" != 0 ] || exit 0\n"
    "\n"
    "# It has failed. Having been ready ends a row of failures; a row that is too long ends the job.\n"
    "failures=0\n"
    "[ \"$ready\" = yes ] || failures=$(cat \"$id.failures\" 2>/dev/null || echo 0)\n"
    "failures=$((failures + 1))\n"
    "if [ \"$failures\" -lt %d ]; then\n"
    "    echo \"$failures\" >\"$id.failures\"\n"
    "    echo \"job $id: exit code $code; it is put into the queue again\"\n"
    "    exec scontrol requeue \"$id\"\n"
    "fi\n"
    "echo \"exit code $code, $failures times in a row\" >\"$id.failed\"\n"
    "exit 1\n";

static tn_status put_step(const settings *settings, const target_service *service, FILE *out, tn_error *err)
{
    char own[PATH_MAX];
    const char *program = settings_string(settings, "target slurm", "program");

    if (!program) {
        ssize_t bytes = readlink("/proc/self/exe", own, sizeof own - 1);
        if (bytes <= 0)
            return tn_fail(err, TN_E_IO, "the path of this program cannot be found out; set [target slurm] program");
        own[bytes] = '\0';
        program = own;
    }
    if (!wish_fits_a_line(program))
        return settings_fail(settings, "target slurm", "program", TN_E_ARGUMENT, "it is no path of one line", err);
    fprintf(
        out,
        "srun --nodes=%u --ntasks=%u --ntasks-per-node=1 --cpus-per-task=%u --kill-on-bad-exit=1 --mpi=none \\\n    ",
        service->nodes, service->nodes, cpus(settings, service));
    put_quoted(program, out);
    fputs(" serve " SLURM_SETTINGS " --status \"$id.status\" --address \"$id.address\"", out);
    if (service->nodes > 1) /* jobs may share a node */
        fputs(" \\\n    --set \"group.port=$((20000 + id % 20000))\"", out);
    fputs(" &\n", out);
    return TN_OK;
}

static tn_status render_script(const settings *settings, const target_service *service, target_files *files,
                               tn_error *err)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);

    if (!out)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a script");
    fputs("#!/bin/bash\n", out);
    tn_status status = put_request(settings, service, out, err);
    fputs(before, out);
    if (status == TN_OK)
        status = put_step(settings, service, out, err);
    fprintf(out, after, SLURM_FAILURES_MAX);
    bool failed = ferror(out);
    if (fclose(out) != 0 || failed || status != TN_OK) {
        free(text);
        return status != TN_OK ? status : tn_fail(err, TN_E_MEMORY, "out of memory for a script");
    }
    return target_files_add(files, SLURM_SCRIPT, text, false, err);
}

/* ---- what the server reads ---- */

static tn_status put_group(engine_settings *list, tn_error *err)
{
    tn_status status = engine_settings_put(list, "group.launcher", "slurm", err);
    return status == TN_OK ? engine_settings_put(list, "group.secret_file", SLURM_SECRET, err) : status;
}

static tn_status render_settings(const settings *settings, const target_service *service, target_files *files,
                                 tn_error *err)
{
    engine_settings list = {0};
    char listen[HOST_BYTES + 8];
    const char *host = settings_string(settings, "target slurm", "host");

    if (strlen(host) >= HOST_BYTES)
        return settings_fail(settings, "target slurm", "host", TN_E_ARGUMENT, "it is longer than the name of a host",
                             err);
    snprintf(listen, sizeof listen, "%s:%d", host, (int)settings_integer(settings, "target slurm", "port"));
    tn_status status = engine_settings_copy(service->settings, &list, err);
    if (status == TN_OK)
        status = engine_settings_put(&list, "http_frontend.listen", listen, err);
    if (status == TN_OK && service->nodes > 1)
        status = put_group(&list, err);
    if (status == TN_OK)
        status = target_files_add(files, SLURM_SETTINGS, engine_settings_text(&list), false, err);
    engine_settings_finish(&list);
    return status;
}

static tn_status render_secret(target_files *files, tn_error *err)
{
    unsigned char bytes[SECRET_BYTES];
    char text[2 * SECRET_BYTES + 2];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return tn_fail(err, TN_E_IO, "no random bytes for the group's secret");
    hex_of(bytes, sizeof bytes, text);
    memcpy(text + 2 * SECRET_BYTES, "\n", 2);
    tn_status status = target_files_add(files, SLURM_SECRET, strdup(text), true, err);
    explicit_bzero(text, sizeof text);
    explicit_bzero(bytes, sizeof bytes);
    return status;
}

tn_status slurm_script_render(const settings *settings, const target_service *service, target_files *ret_files,
                              tn_error *err)
{
    *ret_files = (target_files){.count = 0};
    tn_status status = render_script(settings, service, ret_files, err);
    if (status == TN_OK)
        status = render_settings(settings, service, ret_files, err);
    if (status == TN_OK && service->nodes > 1)
        status = render_secret(ret_files, err);
    if (status != TN_OK)
        target_files_finish(ret_files);
    return status;
}
