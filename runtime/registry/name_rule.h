/* runtime/registry/name_rule.h: what models, versions, aliases and the files of a model may be called.
 *
 * Names of files come from directories, bundles and hubs, and become paths: each is checked here before anything is
 * done with it.
 */
#ifndef REGISTRY_NAME_RULE_H
#define REGISTRY_NAME_RULE_H

#include "tenon/error.h"

#include <stdbool.h>

enum {
    NAME_BYTES_MAX = 128,       /* of a model, version, alias, tag or metric */
    FILE_NAME_BYTES_MAX = 1024, /* of a file, folders included */
    FILE_DEPTH_MAX = 16,        /* folders above a file */
    MODEL_FILES_MAX = 10000
};

/* Letters, digits, '.', '_' and '-', the first of them a letter or digit. what: "the model name", for the message. */
tn_status name_check(const char *what, const char *name, tn_error *err);
/* A relative path of plain UTF-8 parts, none of them '.' or '..'; and not a pickle file, which runs code when it is
 * loaded. where: begins the message. */
tn_status file_name_check(const char *where, const char *name, tn_error *err);
/* .bin, .pt, .pth, .pkl, .pickle, .ckpt, in any case. */
bool is_pickle_name(const char *name);
/* A part of it begins with '.' and is neither '.' nor '..': what Git and the hub's tools keep beside a model. */
bool is_hidden_name(const char *name);

/* Whether what stands at `at`, before the terminator, is a character that a terminal may obey. */
bool is_control_character(const char *at);

/* NAME, NAME@VERSION, NAME@sha256:DIGEST or NAME:ALIAS. */
typedef struct model_reference {
    char model[NAME_BYTES_MAX + 1];
    char version[NAME_BYTES_MAX + 1]; /* "": none */
    char digest[64 + 1];
    char alias[NAME_BYTES_MAX + 1];
} model_reference;

tn_status model_reference_parse(const char *text, model_reference *ret_reference, tn_error *err);

#endif
