/* runtime/cli/command.h: a sub-command, and the flags that it shares with the others.
 *
 * Each command lives in a file of its own and lists its flags in a table; args.c parses, checks and prints --help from
 * that table. Exit codes: 0 done, 1 failed, 2 wrong usage; `plan` has 2 for "fits with changes" and 3 for "does not
 * fit", `registry verify` 4 for damage, `batch run` and `batch retry-failed` 3 for rows that failed.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "instance/doors.h"
#include "instance/instance.h"

#include <signal.h>

enum { EXIT_USAGE = 2, EXIT_FITS_CHANGED = 2, EXIT_MISFIT = 3, EXIT_DAMAGE = 4 };

typedef enum flag_kind {
    FLAG_SWITCH,  /* bool *target */
    FLAG_INTEGER, /* int64_t *target */
    FLAG_NUMBER,  /* double *target */
    FLAG_STRING,  /* const char **target */
    FLAG_STRINGS, /* string_list *target; may be repeated */
    FLAG_SETTING  /* short for --set <setting>=VALUE; no target */
} flag_kind;

typedef struct flag {
    const char *name; /* without dashes; one letter goes with one dash */
    const char *value;
    flag_kind kind;
    void *target;
    const char *setting;
    const char *help;
} flag;

enum { STRINGS_MAX = 32 };
typedef struct string_list {
    const char *at[STRINGS_MAX];
    uint32_t count;
} string_list;

/* Where a command's settings are: in --config and --set; in an argument and --set; or it reads none. */
typedef enum settings_source { SETTINGS_OF_FLAGS, SETTINGS_OF_ARGUMENT, SETTINGS_UNREAD } settings_source;

typedef struct command {
    const char *name, *arguments, *summary;
    const char *help; /* paragraphs under the usage line */
    uint32_t positional_min, positional_max;
    settings_source settings;
    int (*run)(const struct command *command, int argc, char **argv);
} command;

/* Settings that may be given, and those with what commands add. */
enum { ARGS_SETS_GIVEN_MAX = 64, ARGS_SETS_MAX = ARGS_SETS_GIVEN_MAX + 4, ARGS_POSITIONAL_MAX = 8 };

typedef struct args {
    const char *ini;                     /* --config */
    const char *sets[ARGS_SETS_MAX + 1]; /* --set and FLAG_SETTING, NULL-terminated */
    char *owned[ARGS_SETS_MAX];          /* those made here */
    uint32_t set_count, owned_count;
    const char *positional[ARGS_POSITIONAL_MAX];
    uint32_t positional_count;
} args;

/* Parses argv after the command's name. Returns -1 to go on, or the exit code (usage errors and --help have been
 * printed). flags: count entries, may be NULL. */
int args_parse(const command *command, const flag *flags, uint32_t count, int argc, char **argv, args *ret_args);
/* The argument [FILE.ini] is what --config is; -1, or the exit code of both. */
int args_take_ini(const command *command, args *args);
void args_finish(args *args);
/* Adds "name=value" as if by --set; a command may do so four times. */
void args_set(args *args, const char *name, const char *value);

/* Standard output, of which no byte is lost in silence. Start before anything is opened or printed. */
void output_start(void);
/* Pushes out what was printed. False: a write failed, now or before, and there is no use in going on. */
bool output_flush(void);
/* The end of printing: code, or, if something could not be written, EXIT_FAILURE and one sentence on stderr (none where
 * the reader of a pipe has left). */
int output_finish(int code);

/* Prints "tenon: message" to stderr and returns EXIT_FAILURE. */
int report(const tn_error *err);
/* Text that others wrote, with '?' for what a terminal would obey. */
void print_plain(FILE *to, const char *text);

/* The front part of most commands: settings, and an instance through the stage asked for. On failure everything is
 * closed, args too, and the message printed; returns the exit code, or -1 to go on. */
typedef enum stage { STAGE_PLUGINS, STAGE_TOKENIZER, STAGE_MODEL, STAGE_PLAN, STAGE_LOADED, STAGE_ENGINE } stage;
typedef struct session {
    settings *settings;
    instance instance;
} session;
int session_open(session *session, args *args, stage stage);
tn_status session_advance(session *session, stage from, stage to, tn_error *err); /* stages in (from, to] */
void session_close(session *session);

/* Runs the one of `commands` that `name` names, or says which there are. prefix: "" or "registry ". */
int command_dispatch(const char *prefix, const command *const *commands, uint32_t count, const char *name, int argc,
                     char **argv);
/* A command that has commands of its own: runs the one that argv[0] names; its usage, to stderr without one. */
int command_family(const command *family, const command *const *commands, uint32_t count, int argc, char **argv);
/* Lists them, one line each. */
void command_list(FILE *out, const char *prefix, const command *const *commands, uint32_t count);
/* model_path_find for an argument of a command that needs no plugins: settings are read for the registry's folder only.
 * *ret_path owned. */
tn_status find_model(const args *args, const char *text, char **ret_path, tn_error *err);

/* Reads all of stdin, or of a file; malloc'ed and terminated; at most 256 MiB. NULL: printed why. path NULL: stdin. */
char *read_input(const char *path, uint64_t *ret_bytes);
/* text to ids through the instance's tokenizer; malloc'ed. NULL: printed why. */
int32_t *tokenize_text(const instance *instance, const char *text, uint64_t bytes, uint32_t flags, uint64_t *ret_count);

/* Progress on stderr: a bar on a terminal, otherwise a line every two seconds. unit: "sequences"; NULL: bytes. */
weights_progress progress_start(const char *label, const char *unit);
void progress_finish(void);
/* Is told of every step, 0 to 1; NULL: nobody is. */
void progress_watch(void (*watch)(double share));

/* Says on standard error where each of them is. */
void doors_announce(const doors *doors);
/* doors_drain, which says on standard error what remains. */
void doors_drain_or_warn(doors *doors, uint32_t drain_ms);
/* SIGINT, SIGTERM, SIGHUP are for sigwait in the calling thread alone; threads inherit the mask. */
void block_signals(sigset_t *ret_set);

extern const command command_serve, command_daemon, command_keep, command_run, command_plan, command_pool, command_plugins, command_doctor,
    command_inspect, command_tokenize, command_detokenize, command_chat_template, command_logits, command_perplexity,
    command_quantize, command_registry, command_group, command_token, command_service, command_up,
    command_batch;
/* Those of `tenon registry`. */
extern const command command_registry_log, command_registry_list, command_registry_show, command_registry_verify,
    command_registry_alias, command_registry_default, command_registry_copy, command_registry_rm, command_registry_gc,
    command_registry_export, command_registry_import, command_registry_pull;
/* Those of `tenon service`. */
extern const command command_service_create, command_service_list, command_service_status, command_service_logs,
    command_service_suspend, command_service_resume, command_service_scale, command_service_update,
    command_service_delete;
/* Those of `tenon batch`. */
extern const command command_batch_run, command_batch_status, command_batch_list, command_batch_cancel,
    command_batch_errors, command_batch_retry, command_batch_check, command_batch_export,
    command_batch_sql;

#endif
