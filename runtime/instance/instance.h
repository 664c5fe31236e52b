/* runtime/instance/instance.h: one model, assembled from settings, stage by stage.
 *
 * plugins -> files (checkpoint, quantization, tokenizer, config, graph) -> plan -> device (weights, KV) -> engine. Each
 * command goes as far as it needs; instance_close undoes what was done, in reverse. Nothing is hidden: the parts are
 * public so that commands read them.
 */
#ifndef INSTANCE_INSTANCE_H
#define INSTANCE_INSTANCE_H

#include "chat/chat_template.h"
#include "engine/engine.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/graph.h"
#include "model/weights.h"
#include "plan/plan.h"
#include "plugin/loader.h"
#include "settings/settings.h"
#include "workers/workers.h"

enum { INSTANCE_NAMES_MAX = 16, INSTANCE_PLUGINS_MAX = 8, INSTANCE_DEVICES_MAX = 64 };

/* Plugins of one kind, in the order of the settings. */
typedef struct plugin_list {
    const plugin *at[INSTANCE_PLUGINS_MAX];
    uint32_t count;
} plugin_list;

typedef struct instance {
    settings *settings; /* borrowed */
    workers *workers;   /* borrowed; set before make_plan; NULL: this process runs the model alone */
    plugin_set *plugins;
    plugin_list quants, tokenizers, frontends;
    const tn_backend *backend; /* the plugin's; at rank 0 of a group, from instance_load on, the group's */

    char *model_path;      /* owned: what model.path names */
    char *registered_name; /* owned: what the registry calls it; NULL: it is not from there */
    checkpoint *checkpoint;
    weight_source weights;
    const tn_tokenizer_table *tokenizer;
    tn_tok *tok;
    uint64_t tokenizer_bytes;
    chat_template *chat; /* NULL: the model has none, or a broken one: */
    tn_error chat_error; /* why */
    bool chat_broken;    /* it has one, which cannot be used */
    model_config config;
    tn_graph *graph;
    char *served_name_text;
    const char *served_names[INSTANCE_NAMES_MAX + 1];
    tn_sampling_defaults defaults; /* what requests get for what they leave out */

    const tn_devinfo *described; /* borrowed; planned for in place of what is here; set before plan_input; NULL: none */
    uint32_t context_max, seqs_max, outputs_min; /* wishes of one-shot commands, set before make_plan; 0: none */
    tn_devinfo device;                           /* the smallest of those that the ranks run on */
    uint32_t ordinals[INSTANCE_DEVICES_MAX], device_count, devices_found;
    tn_enc *weight_enc;
    memory_plan plan;

    tn_dev *dev;
    const tn_backend *opened; /* whose dev is */
    tn_model *model;
    tn_engine *engine;
} instance;

/* Stages, each needing those before. On failure the message is written and the instance stays closable. [ctl] */
void instance_init(instance *instance, settings *settings); /* settings must outlive it */
/* Every plugin that the settings name, front ends only if asked for. */
tn_status instance_load_plugins(instance *instance, bool frontends, tn_error *err);
/* The front ends alone, for the daemon, which serves other processes' models. Sections that engines will read are known by
 * the names of their plugins. */
tn_status instance_load_frontends(instance *instance, tn_error *err);
tn_status instance_open_tokenizer(instance *instance, tn_error *err); /* checkpoint, tokenizer, chat template */
tn_status instance_open_model(instance *instance, tn_error *err); /* quantization, config, graph; reads no weights */
/* The device and the weights' encodings: all that the plan is made from, borrowed until instance_close. */
tn_status instance_plan_input(instance *instance, plan_input *ret_input, tn_error *err);
tn_status instance_make_plan(instance *instance, tn_error *err); /* TN_E_MEMORY: plan is filled for printing */
tn_status instance_load(instance *instance, const weights_progress *progress, tn_error *err); /* weights, KV */
/* The backend prepares for the plan's buckets, then for the largest batch; processes of a group meet. */
tn_status instance_warm_up(instance *instance, const weights_progress *progress, tn_error *err);
tn_status instance_start(instance *instance, tn_error *err); /* the engine */
/* In place of start, where workers' rank is not 0: runs rank 0's steps until it ends the group. */
tn_status instance_work(instance *instance, tn_error *err);
/* In place of load_plugins, for a process that only tokenises: those of [tokenizer] alone. */
tn_status instance_load_tokenizers(instance *instance, tn_error *err);
tn_status instance_open_chat(instance *instance, tn_error *err);  /* part of open_tokenizer */
tn_status instance_name_model(instance *instance, tn_error *err); /* part of open_model; needs the tokenizer's stage */
void instance_close(instance *instance);

/* tn.chat's render over an instance's template. Needs the tokenizer's stage. [any] */
tn_status instance_render_chat(const instance *instance, const char *json, uint64_t n_json, char *text,
                               uint64_t *n_text, tn_error *err);
/* tn.chat over the instance that owns an engine. */
extern const tn_chat_table instance_chat_table;

#endif
