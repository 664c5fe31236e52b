/* instance.c: the stages. Order matters only as the header says; each stage writes its own parts of the struct.
 */
#include "instance/instance.h"

#include "base/processors.h"
#include "instance/devices.h"
#include "instance/likeness.h"
#include "instance/model_path.h"
#include "instance/no_tokenizer.h"
#include "model/dummy_weights.h"
#include "model/generation.h"
#include "workers/agreement.h"
#include "workers/spread.h"
#include "workers/worker.h"

#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOADER_THREADS_MAX = 8, IDS_MAX = 128 };

void instance_init(instance *in, settings *settings)
{
    *in = (instance){.settings = settings, .chat_error = TN_ERROR_INIT};
}

/* Loads the plugin that `section.key` names; a refusal says where it was named. */
static tn_status load_plugin(instance *in, const char *section, const char *key, const char *spec,
                             const plugin **ret_plugin, tn_error *err)
{
    tn_error reason = TN_ERROR_INIT;
    tn_status status = plugin_load(in->plugins, spec, ret_plugin, &reason);
    return status == TN_OK ? TN_OK : settings_fail(in->settings, section, key, status, reason.msg, err);
}

/* Loads the comma-separated specs in `section.key`, in order. */
static tn_status load_list(instance *in, const char *section, const char *key, plugin_list *list, tn_error *err)
{
    char *text = strdup(settings_string(in->settings, section, key));
    char *rest = NULL;
    tn_status status = text ? TN_OK : tn_fail(err, TN_E_MEMORY, "plugin names");

    for (char *spec = text ? strtok_r(text, ",", &rest) : NULL; spec && status == TN_OK;
         spec = strtok_r(NULL, ",", &rest)) {
        spec += strspn(spec, " \t");
        for (size_t end = strlen(spec); end > 0 && strchr(" \t", spec[end - 1]); end--)
            spec[end - 1] = '\0';
        if (!*spec)
            continue;
        if (list->count == INSTANCE_PLUGINS_MAX)
            status =
                tn_fail(err, TN_E_ARGUMENT, "%s.%s names more than %d plugins", section, key, INSTANCE_PLUGINS_MAX);
        else
            status = load_plugin(in, section, key, spec, &list->at[list->count], err);
        list->count += status == TN_OK;
    }
    free(text);
    return status;
}

tn_status instance_load_tokenizers(instance *in, tn_error *err)
{
    tn_status status = plugin_set_create(in->settings, &in->plugins, err);
    return status == TN_OK ? load_list(in, "tokenizer", "plugins", &in->tokenizers, err) : status;
}

/* The ids of plugins that are named but not loaded: their file's name, without folder and ending. At most `cap` are
 * listed; texts are cut in place in `specs`. */
static uint32_t list_ids(char *specs, const char **ids, uint32_t cap)
{
    uint32_t count = 0;
    char *rest = NULL;
    for (char *spec = strtok_r(specs, ",", &rest); spec && count < cap; spec = strtok_r(NULL, ",", &rest)) {
        spec += strspn(spec, " \t");
        spec[strcspn(spec, " \t")] = '\0';
        char *slash = strrchr(spec, '/'), *ending = strstr(spec, ".so");
        if (ending)
            *ending = '\0';
        if (*spec)
            ids[count++] = slash ? slash + 1 : spec;
    }
    return count;
}

/* Plugins that a section may be of although they are not loaded: the folder has them. */
static uint32_t list_installed(const settings *settings, const char **ids, uint32_t cap)
{
    char path[PATH_MAX];
    uint32_t count = 0;
    settings_given given;

    for (uint32_t i = 0; count < cap && settings_given_at(settings, i, &given); i++) {
        int bytes =
            snprintf(path, sizeof path, "%s/%s.so", settings_string(settings, "plugins", "path"), given.section);
        bool is_new = count == 0 || strcmp(ids[count - 1], given.section) != 0;
        if (is_new && bytes < (int)sizeof path && access(path, F_OK) == 0)
            ids[count++] = given.section;
    }
    return count;
}

/* Front ends that are not loaded may have sections all the same, and so may what another backend's settings name. */
static tn_status check_sections(const instance *in, const plugin *backend, bool frontends, tn_error *err)
{
    const plugin_list *lists[] = {&in->quants, &in->tokenizers, &in->frontends};
    const char *ids[3 * INSTANCE_PLUGINS_MAX + IDS_MAX + 2];
    char *named = strdup(settings_string(in->settings, "frontend", "plugins"));
    uint32_t count = 0;

    if (!named)
        return tn_fail(err, TN_E_MEMORY, "plugin names");
    ids[count++] = plugin_descriptor(backend)->id;
    for (int l = 0; l < 3; l++)
        for (uint32_t i = 0; i < lists[l]->count; i++)
            ids[count++] = plugin_descriptor(lists[l]->at[i])->id;
    if (!frontends) {
        count += list_ids(named, ids + count, INSTANCE_PLUGINS_MAX);
        count += list_installed(in->settings, ids + count, IDS_MAX);
    }
    ids[count] = NULL;
    tn_status status = settings_check_sections(in->settings, ids, frontends, err);
    free(named);
    return status;
}

tn_status instance_load_plugins(instance *in, bool frontends, tn_error *err)
{
    const plugin *backend = NULL;
    tn_status status = plugin_set_create(in->settings, &in->plugins, err);

    if (status == TN_OK)
        status =
            load_plugin(in, "backend", "plugin", settings_string(in->settings, "backend", "plugin"), &backend, err);
    if (status == TN_OK)
        status = plugin_backend(backend, &in->backend, err);
    if (status == TN_OK)
        status = load_list(in, "quant", "plugins", &in->quants, err);
    if (status == TN_OK)
        status = load_list(in, "tokenizer", "plugins", &in->tokenizers, err);
    if (status == TN_OK && frontends)
        status = load_list(in, "frontend", "plugins", &in->frontends, err);
    if (status == TN_OK)
        status = check_sections(in, backend, frontends, err);
    return status;
}

/* What engines of the daemon may load: its own choice, and what its pools name. */
static char *named_plugins(const settings *settings)
{
    char *text = NULL;
    const char *section;
    if (asprintf(&text, "%s,%s,%s", settings_string(settings, "backend", "plugin"),
                 settings_string(settings, "quant", "plugins"), settings_string(settings, "tokenizer", "plugins")) < 0)
        return NULL;
    for (uint32_t i = 0; text && (section = settings_named_section(settings, "pool", i)); i++) {
        const char *backend = settings_string(settings, section, "backend");
        char *longer = NULL;
        if (asprintf(&longer, "%s,%s", text, backend ? backend : "cuda_tp") < 0)
            longer = NULL;
        free(text);
        text = longer;
    }
    return text;
}

tn_status instance_load_frontends(instance *in, tn_error *err)
{
    const char *ids[IDS_MAX + INSTANCE_PLUGINS_MAX + 1];
    tn_status status = plugin_set_create(in->settings, &in->plugins, err);
    if (status == TN_OK)
        status = load_list(in, "frontend", "plugins", &in->frontends, err);
    if (status != TN_OK)
        return status;
    char *names = named_plugins(in->settings);
    if (!names)
        return tn_fail(err, TN_E_MEMORY, "plugin names");
    uint32_t count = list_ids(names, ids, IDS_MAX);
    for (uint32_t i = 0; i < in->frontends.count; i++)
        ids[count++] = plugin_descriptor(in->frontends.at[i])->id;
    ids[count] = NULL;
    status = settings_check_sections(in->settings, ids, true, err);
    free(names);
    return status;
}

/* Bytes the allocator has handed out. One at a time: where another allocator has taken the place of glibc's, the first
 * mallinfo2() sets glibc's up, and a second meanwhile would find it half made. */
static uint64_t heap_bytes(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&mutex);
    struct mallinfo2 info = mallinfo2();
    pthread_mutex_unlock(&mutex);
    return info.uordblks + info.hblkhd;
}

/* Weights are made up; only the files beside them count. */
static bool is_dummy(const instance *in)
{
    return strcmp(settings_string(in->settings, "model", "load_format"), "dummy") == 0;
}

static tn_status open_tokenizer_plugin(instance *in, tn_error *err)
{
    tn_error reason = TN_ERROR_INIT;
    for (uint32_t i = 0; i < in->tokenizers.count; i++) {
        const tn_tokenizer_table *table;
        uint64_t before = heap_bytes();
        tn_status status = plugin_tokenizer(in->tokenizers.at[i], &table, err);
        if (status == TN_OK)
            status = table->open(checkpoint_source(in->checkpoint), &in->tok, &reason);
        if (status == TN_E_NOT_FOUND)
            continue;
        if (status != TN_OK)
            tn_fail(err, status, "%s", reason.msg);
        in->tokenizer = status == TN_OK ? table : NULL;
        in->tokenizer_bytes = heap_bytes() - before;
        return status;
    }
    if (is_dummy(in)) {
        in->tokenizer = &no_tokenizer_table;
        return TN_OK;
    }
    return tn_fail(err, TN_E_UNSUPPORTED, "none of the tokenizer plugins (%.100s) knows this tokenizer: %.300s",
                   settings_string(in->settings, "tokenizer", "plugins"), reason.msg);
}

tn_status instance_open_tokenizer(instance *in, tn_error *err)
{
    const char *text = settings_string(in->settings, "model", "path");
    if (!text)
        return tn_fail(err, TN_E_ARGUMENT, "no model: set model.path to a GGUF file or a model directory");
    const char *format = settings_string(in->settings, "model", "load_format");
    tn_status status = model_path_find(in->settings, text, &in->model_path, &in->registered_name, err);
    if (status == TN_OK)
        status =
            (is_dummy(in) ? checkpoint_open_without_weights : checkpoint_open)(in->model_path, &in->checkpoint, err);
    if (status == TN_OK && strcmp(format, "auto") != 0 && !is_dummy(in) &&
        strcmp(format, checkpoint_source(in->checkpoint)->container) != 0)
        return tn_fail(err, TN_E_ARGUMENT, "%s is a %s checkpoint, but model.load_format=%s", text,
                       checkpoint_source(in->checkpoint)->container, format);
    if (status == TN_OK)
        status = open_tokenizer_plugin(in, err);
    if (status == TN_OK)
        status = instance_open_chat(in, err);
    malloc_trim(0); /* a parsed tokenizer.json takes many times what is kept of it, and no plan has it */
    return status;
}

/* No plugin takes it: names its format, as the last one that was asked worded it, and the formats that there are. */
static tn_status refuse_format(const instance *in, const tn_error *refusal, tn_error *err)
{
    char known[256] = "";

    for (uint32_t i = 0; i < in->quants.count; i++) {
        const tn_quant_table *table;
        const char *formats = plugin_descriptor(in->quants.at[i])->id;
        if (plugin_quant(in->quants.at[i], &table, NULL) == TN_OK && table->formats)
            formats = table->formats();
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", formats);
    }
    return tn_fail(err, TN_E_UNSUPPORTED, "%s; the plugins of quant.plugins read: %s", refusal->msg, known);
}

static tn_status open_quant_plugin(instance *in, tn_error *err)
{
    tn_error refusal = TN_ERROR_INIT;
    const char *wanted = settings_string(in->settings, "model", "quantization");
    bool any = strcmp(wanted, "auto") == 0;

    for (uint32_t i = 0; i < in->quants.count; i++) {
        const tn_quant_table *table;
        if (!any && strcmp(wanted, plugin_descriptor(in->quants.at[i])->id) != 0)
            continue;
        tn_status status = plugin_quant(in->quants.at[i], &table, err);
        if (status == TN_OK)
            status = table->open(checkpoint_source(in->checkpoint), &in->weights.qmodel, &refusal);
        if (status == TN_E_NOT_FOUND)
            continue;
        in->weights.quant = status == TN_OK ? table : NULL;
        return status == TN_OK ? TN_OK : tn_fail(err, status, "%s", refusal.msg);
    }
    if (refusal.msg[0])
        return refuse_format(in, &refusal, err);
    return tn_fail(err, TN_E_UNSUPPORTED, "%s: model.quantization=%s is none of quant.plugins (%s)",
                   checkpoint_source(in->checkpoint)->path, wanted, settings_string(in->settings, "quant", "plugins"));
}

/* model.served_model_name, or the registry's name, or the file's without its ending. */
tn_status instance_name_model(instance *in, tn_error *err)
{
    const char *names = settings_string(in->settings, "model", "served_model_name");
    const char *path = in->registered_name ? in->registered_name : in->model_path;
    const char *slash = strrchr(path, '/');
    uint32_t count = 0;
    char *rest = NULL;

    in->served_name_text = strdup(names ? names : slash && slash[1] ? slash + 1 : path);
    if (!in->served_name_text)
        return tn_fail(err, TN_E_MEMORY, "model name");
    size_t bytes = strlen(in->served_name_text);
    if (!names && bytes > 5 && strcmp(in->served_name_text + bytes - 5, ".gguf") == 0)
        in->served_name_text[bytes - 5] = '\0';
    for (char *name = strtok_r(in->served_name_text, ", \t/", &rest); name; name = strtok_r(NULL, ", \t", &rest)) {
        if (count == INSTANCE_NAMES_MAX)
            return tn_fail(err, TN_E_ARGUMENT, "model.served_model_name lists more than %d names", INSTANCE_NAMES_MAX);
        in->served_names[count++] = name;
    }
    if (count == 0)
        return tn_fail(err, TN_E_ARGUMENT, "model.served_model_name is empty");
    return TN_OK;
}

static tn_status read_defaults(instance *in, tn_error *err)
{
    in->defaults = generation_neutral;
    if (!settings_is_auto(in->settings, "model", "generation_config"))
        return TN_OK;
    return generation_defaults_read(checkpoint_source(in->checkpoint), &in->defaults, err);
}

static tn_status check_vocabulary(const instance *in, tn_error *err)
{
    uint32_t tokens = in->tokenizer->vocab_size(in->tok);
    if (tokens > in->config.vocab)
        return tn_fail(err, TN_E_CORRUPT, "%s: the tokenizer has %u tokens but the embedding only %u rows",
                       checkpoint_source(in->checkpoint)->path, tokens, in->config.vocab);
    return TN_OK;
}

/* Rotations that depend on the length of sequences are made for those that will be served. */
static void limit_sequences(instance *in)
{
    int64_t longest = in->config.context;

    if (!settings_is_auto(in->settings, "model", "max_model_len"))
        longest = settings_integer(in->settings, "model", "max_model_len");
    if (longest > 0 && longest < in->config.sequence_max)
        in->config.sequence_max = (uint32_t)longest;
}

static tn_status open_dummy_weights(instance *in, tn_error *err)
{
    const char *method = settings_is_auto(in->settings, "model", "quantization")
                             ? NULL
                             : settings_string(in->settings, "model", "quantization");
    in->weights.quant = &dummy_weights_table;
    return dummy_weights_open(checkpoint_source(in->checkpoint), in->graph, method, &in->weights.qmodel, err);
}

tn_status instance_open_model(instance *in, tn_error *err)
{
    if (strcmp(settings_string(in->settings, "model", "dtype"), "bfloat16") == 0)
        in->weights.float_type = TN_BF16;
    tn_status status = is_dummy(in) ? TN_OK : open_quant_plugin(in, err);
    if (status == TN_OK)
        status = model_config_read(checkpoint_source(in->checkpoint), &in->config, err);
    if (status == TN_OK)
        status = check_vocabulary(in, err);
    if (status == TN_OK)
        status = instance_name_model(in, err);
    if (status == TN_OK)
        status = read_defaults(in, err);
    if (status != TN_OK)
        return status;
    limit_sequences(in);
    status = model_graph_build(&in->config, &in->graph, err);
    return status == TN_OK && is_dummy(in) ? open_dummy_weights(in, err) : status;
}

static uint32_t loader_threads(void)
{
    uint32_t count = processors_usable();
    return count > LOADER_THREADS_MAX ? LOADER_THREADS_MAX : count;
}

static plan_input plan_input_of(const instance *in)
{
    return (plan_input){
        .settings = in->settings,
        .config = &in->config,
        .graph = in->graph,
        .graph_api = model_graph_api(in->graph),
        .weight_enc = in->weight_enc,
        .backend = in->backend,
        .device = &in->device,
        .staging_bytes = weights_staging_bytes(in->graph, in->weight_enc, loader_threads()),
        .tokenizer_bytes = in->tokenizer_bytes,
        .context_max = in->context_max,
        .seqs_max = in->seqs_max,
        .outputs_min = in->outputs_min,
    };
}

/* Names the nodes that the backend cannot run, before any weight is read. */
static tn_status check_graph(const instance *in, const tn_compile *compile, tn_error *err)
{
    uint32_t bad[1], bad_count = 1;
    if (!in->backend->check)
        return TN_OK;
    tn_status status = in->backend->check(&in->device, compile, bad, &bad_count, err);
    if (status == TN_OK && bad_count > 0)
        status = tn_fail(err, TN_E_UNSUPPORTED, "backend %s cannot run %u nodes of this model, first node %u",
                         settings_string(in->settings, "backend", "plugin"), bad_count, bad[0]);
    return status;
}

tn_status instance_plan_input(instance *in, plan_input *ret_input, tn_error *err)
{
    const tn_graph_api *api = model_graph_api(in->graph);
    tn_status status = devices_choose(in, err);

    if (status != TN_OK)
        return status;
    in->weight_enc = calloc(api->weight_count, sizeof *in->weight_enc);
    if (!in->weight_enc)
        return tn_fail(err, TN_E_MEMORY, "encodings of %u weights", api->weight_count);
    status = weights_choose(&in->weights, in->graph, in->backend, &in->device, in->weight_enc, err);
    if (status == TN_OK)
        *ret_input = plan_input_of(in);
    return status;
}

tn_status instance_make_plan(instance *in, tn_error *err)
{
    plan_input input;
    tn_status status = instance_plan_input(in, &input, err);
    return status == TN_OK ? plan_make(&input, &in->plan, err) : status;
}

static step_shape step_shape_of(const instance *in)
{
    const tn_graph_api *api = model_graph_api(in->graph);
    return (step_shape){.vocab = api->vocab_size,
                        .width = api->model_width,
                        .max_tokens = in->plan.max_num_batched_tokens,
                        .max_seqs = in->plan.max_num_seqs,
                        .max_outputs = in->plan.max_outputs,
                        .kv_groups = api->kv_group_count};
}

static tn_status reserve_kv(instance *in, tn_error *err)
{
    tn_status status = TN_OK;
    for (uint32_t g = 0; g < in->plan.kv_group_count && status == TN_OK; g++)
        status = in->backend->kv_reserve(in->model, g, in->plan.kv_pages[g], err);
    return status;
}

/* The processes of a group run the same model, on as many pages as all have room for. */
static tn_status agree(instance *in, tn_error *err)
{
    char *text = NULL;

    if (!in->workers)
        return devices_check_alone(in, err);
    tn_status status = likeness_text(in, &text, err);
    if (status == TN_OK)
        status = agreement_reach(in->workers, text, in->plan.kv_pages, in->plan.kv_group_count, err);
    free(text);
    return status;
}

/* Rank 0's steps go to all; a worker's come from rank 0 (instance_work). */
static tn_status join_steps(instance *in, tn_error *err)
{
    tn_status status = in->workers ? agreement_loaded(in->workers, err) : TN_OK;

    if (status != TN_OK || !in->workers || workers_group(in->workers)->rank > 0)
        return status;
    const step_shape shape = step_shape_of(in);
    return spread_create(in->workers, &shape, in->backend, in->model, &in->backend, &in->model, err);
}

tn_status instance_load(instance *in, const weights_progress *progress, tn_error *err)
{
    plan_input input = plan_input_of(in);
    tn_compile compile = plan_compile(&input, &in->plan);

    tn_status status = check_graph(in, &compile, err);
    if (status == TN_OK)
        status = agree(in, err);
    if (status == TN_OK)
        status = devices_open(in, err);
    if (status == TN_OK)
        status = in->backend->compile(in->dev, &compile, &in->model, err);
    if (status == TN_OK)
        status = weights_load(&in->weights, in->checkpoint, in->graph, in->weight_enc, in->backend, in->model,
                              loader_threads(), progress, err);
    if (status == TN_OK)
        status = in->backend->seal(in->model, err);
    if (status == TN_OK)
        status = reserve_kv(in, err);
    return status;
}

static tn_status warm_up(instance *in, const weights_progress *progress, tn_error *err)
{
    const memory_plan *plan = &in->plan;
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < plan->bucket_count && status == TN_OK; i++) {
        status = in->backend->warmup(in->model, plan->bucket[i], err);
        if (progress && progress->report)
            progress->report(progress->ctx, i + 1, plan->bucket_count);
    }
    return status == TN_OK ? in->backend->warmup(in->model, plan->max_num_batched_tokens, err) : status;
}

tn_status instance_warm_up(instance *in, const weights_progress *progress, tn_error *err)
{
    tn_status status = in->backend->warmup ? warm_up(in, progress, err) : TN_OK;
    return status == TN_OK ? join_steps(in, err) : status;
}

tn_status instance_work(instance *in, tn_error *err)
{
    const step_shape shape = step_shape_of(in);
    return worker_run(in->workers, &shape, in->backend, in->model, err);
}

tn_status instance_start(instance *in, tn_error *err)
{
    const memory_plan *plan = &in->plan;
    engine_config config = {
        .max_model_len = plan->max_model_len,
        .max_num_seqs = plan->max_num_seqs,
        .max_num_batched_tokens = plan->max_num_batched_tokens,
        .max_outputs = plan->max_outputs,
        .max_waiting = plan->max_waiting,
        .enable_prefix_caching = plan->enable_prefix_caching,
        .batch_invariant = plan->batch_invariant,
        .seed = (uint64_t)settings_integer(in->settings, "engine", "seed"),
        .kv_group_count = plan->kv_group_count,
        .page_tokens = plan->page_tokens,
        .kv_pages = plan->kv_pages,
        .served_names = in->served_names,
        .model_path = in->model_path,
        .architecture = in->config.architecture,
        .defaults = in->defaults,
        .owner = in,
    };
    return engine_create(&config, in->graph, model_graph_api(in->graph), in->backend, in->model, in->tokenizer, in->tok,
                         &in->engine, err);
}

void instance_close(instance *in)
{
    engine_destroy(in->engine);
    if (in->model)
        in->backend->model_free(in->model);
    if (in->workers)
        workers_set_device(in->workers, NULL, NULL);
    if (in->dev)
        in->opened->close(in->dev);
    free(in->weight_enc);
    free(in->served_name_text);
    if (in->weights.quant)
        in->weights.quant->close(in->weights.qmodel);
    model_graph_free(in->graph);
    chat_template_destroy(in->chat);
    if (in->tokenizer)
        in->tokenizer->close(in->tok);
    checkpoint_close(in->checkpoint);
    free(in->model_path);
    free(in->registered_name);
    plugin_set_destroy(in->plugins);
    instance_init(in, in->settings);
}
