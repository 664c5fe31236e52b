/* plan.c: `tenon plan MODEL`: whether and how a model fits, from headers alone. */
#include "cli/command.h"
#include "plan/placement.h"
#include "plan/planned_encoding.h"
#include "plan/print.h"
#include "plan/roi_chart.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POOLS_MAX = 64, ENCODINGS = 2 };
#define PRICE_MAX 1e9

typedef struct plan_flags {
    const char *pool, *strategy, *quant, *tp, *concurrency, *svg;
    bool json, roi;
    roi_prices prices;
} plan_flags;

typedef struct plan_session {
    plan_flags flags;
    session session;
    pool pool, pools[POOLS_MAX];
    placement_request request;
    placement placement;
    roi roi;
    bool priced;     /* roi is filled */
    tn_enc *planned; /* --quant */
    placement_encoding encodings[ENCODINGS];
} plan_session;

/* ---- what is asked ---- */

/* In the bounds of a [price NAME]; NAN: not given. */
static tn_status check_price(const char *flag, double price, tn_error *err)
{
    return price < 0 || price > PRICE_MAX
               ? tn_fail(err, TN_E_ARGUMENT, "--%s %g: a price is 0 to %g", flag, price, PRICE_MAX)
               : TN_OK;
}

static tn_status check_prices(const roi_prices *prices, tn_error *err)
{
    tn_status status = check_price("price-in", prices->input, err);
    if (status == TN_OK)
        status = check_price("price-cached", prices->cached, err);
    return status == TN_OK ? check_price("price-out", prices->output, err) : status;
}

static tn_status read_strategy(const char *name, placement_strategy *ret_strategy, tn_error *err)
{
    static const char *const names[] = {"auto", "one", "tp", "nodes"};
    for (int i = 0; i < 4; i++) {
        if (!name || strcmp(name, names[i]) == 0) {
            *ret_strategy = (placement_strategy)i;
            return TN_OK;
        }
    }
    return tn_fail(err, TN_E_ARGUMENT, "--strategy %.40s: it is one of auto, one, tp, nodes", name);
}

/* The pool's own backend plans; the settings are read once more when it is known. */
static tn_status choose_backend(const plan_flags *flags, args *a, tn_error *err)
{
    settings *settings = NULL;
    pool pool;
    tn_status status = flags->pool ? settings_read(a->ini, a->sets, &settings, err) : TN_OK;
    if (status == TN_OK && flags->pool)
        status = pool_find(settings, flags->pool, &pool, err);
    if (status == TN_OK && flags->pool && pool.backend)
        args_set(a, "backend.plugin", pool.backend);
    settings_destroy(settings);
    return status;
}

static tn_status open_pool(plan_session *s, tn_error *err)
{
    s->pool = pool_here();
    if (!s->flags.pool)
        return TN_OK;
    tn_status status = pool_find(s->session.settings, s->flags.pool, &s->pool, err);
    if (status == TN_OK && s->pool.described)
        s->session.instance.described = &s->pool.device;
    return status;
}

/* What is here is known once the backend has been asked. */
static tn_status count_devices(plan_session *s, tn_error *err)
{
    const instance *in = &s->session.instance;
    if (s->pool.described)
        return TN_OK;
    s->pool.device = in->device;
    if (s->pool.count > in->devices_found)
        return tn_fail(err, TN_E_NOT_FOUND,
                       "pool %s has count=%u, but this machine has %u; set device to plan without them", s->pool.name,
                       s->pool.count, in->devices_found);
    if (s->pool.count == 0)
        s->pool.count = in->devices_found;
    return TN_OK;
}

static tn_status apply_quant(plan_session *s, tn_error *err)
{
    const instance *in = &s->session.instance;
    const tn_graph_api *api = model_graph_api(in->graph);
    if (!s->flags.quant)
        return TN_OK;
    s->planned = calloc(api->weight_count, sizeof *s->planned);
    if (!s->planned)
        return tn_fail(err, TN_E_MEMORY, "encodings of %u weights", api->weight_count);
    s->request.input.weight_enc = s->planned;
    return planned_encoding_apply(s->flags.quant, in->backend, &s->pool.device, in->graph, api, in->weight_enc,
                                  s->planned, err);
}

/* ---- what may be advised ---- */

/* Methods that the backend takes; one that it does not take is no advice. */
static void list_encodings(plan_session *s)
{
    static const char *const methods[ENCODINGS] = {"int8", "awq"};
    const instance *in = &s->session.instance;
    const tn_graph_api *api = model_graph_api(in->graph);

    for (int i = 0; i < ENCODINGS && !s->planned; i++) {
        tn_enc *enc = calloc(api->weight_count, sizeof *enc);
        if (enc && planned_encoding_apply(methods[i], in->backend, &s->pool.device, in->graph, api, in->weight_enc, enc,
                                          NULL) == TN_OK)
            s->encodings[s->request.encoding_count++] = (placement_encoding){methods[i], enc};
        else
            free(enc);
    }
    s->request.encodings = s->encodings;
}

static tn_status list_pools(plan_session *s, tn_error *err)
{
    tn_status status = TN_OK;
    for (uint32_t i = 0; s->flags.pool && i < POOLS_MAX; i++) {
        pool *pool = &s->pools[s->request.pool_count];
        status = pool_at(s->session.settings, i, pool, err);
        if (status != TN_OK)
            break;
        s->request.pool_count += pool->described && s->pool.backend && strcmp(pool->backend, s->pool.backend) == 0;
    }
    s->request.pools = s->pools;
    return status == TN_E_NOT_FOUND ? TN_OK : status;
}

/* ---- the answer ---- */

static tn_status make_request(plan_session *s, tn_error *err)
{
    placement_request *request = &s->request;
    const settings *settings = s->session.settings;
    uint32_t world = (uint32_t)settings_integer(settings, "backend", "tensor_parallel_size");

    request->pool = &s->pool;
    /* Without a pool the settings are planned as they are. */
    request->world = s->flags.tp || world > 1 || (!s->flags.pool && !s->flags.strategy) ? world : 0;
    if (s->flags.concurrency && !settings_is_auto(settings, "engine", "max_num_seqs"))
        request->concurrency = (uint32_t)settings_integer(settings, "engine", "max_num_seqs");
    tn_status status = instance_plan_input(&s->session.instance, &request->input, err);
    if (status == TN_OK)
        status = count_devices(s, err);
    if (status == TN_OK)
        status = apply_quant(s, err);
    if (status == TN_OK)
        status = list_pools(s, err);
    if (status == TN_OK)
        list_encodings(s);
    return status;
}

static tn_status find_costs(plan_session *s, tn_error *err)
{
    if (!s->flags.roi || !s->placement.fits)
        return TN_OK;
    tn_status status = roi_make(s->session.settings, &s->placement, &s->session.instance.config, &s->pool,
                                &s->flags.prices, &s->roi, err);
    s->priced = status == TN_OK;
    return status;
}

static tn_status write_svg(const plan_session *s, tn_error *err)
{
    if (!s->flags.svg || !s->priced)
        return TN_OK;
    FILE *file = fopen(s->flags.svg, "we");
    if (!file)
        return tn_fail(err, TN_E_IO, "--svg %s: %s", s->flags.svg, strerror(errno));
    roi_chart_svg(&s->roi, file);
    bool failed = ferror(file);
    if (fclose(file) != 0 || failed)
        return tn_fail(err, TN_E_IO, "--svg %s: it could not be written whole: %s", s->flags.svg, strerror(errno));
    return TN_OK;
}

static void print_answer(const plan_session *s)
{
    const model_config *config = &s->session.instance.config;
    if (!s->flags.json) {
        placement_print(&s->placement, &s->pool, config, stdout);
        if (s->priced)
            roi_print(&s->roi, stdout);
        return;
    }
    json_t *root = placement_json(&s->placement, &s->pool, config);
    if (s->priced)
        json_object_set_new(root, "roi", roi_json(&s->roi));
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(root);
}

static int answer(plan_session *s)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = open_pool(s, &err);
    if (status == TN_OK)
        status = make_request(s, &err);
    if (status == TN_OK)
        status = placement_find(&s->request, &s->placement, &err);
    if (status == TN_OK)
        status = find_costs(s, &err);
    if (status == TN_OK)
        status = write_svg(s, &err);
    if (status != TN_OK)
        return report(&err);
    print_answer(s);
    if (s->placement.fits)
        return 0;
    report(&s->placement.reason);
    return s->placement.fix_count ? EXIT_FITS_CHANGED : EXIT_MISFIT;
}

static int run_plan(const command *command, int argc, char **argv)
{
    plan_session s = {.flags.prices = {NAN, NAN, NAN}};
    const flag flags[] = {
        {"pool", "NAME", FLAG_STRING, &s.flags.pool, NULL, "devices to plan for, here or not; `tenon pool list`"},
        {"strategy", "S", FLAG_STRING, &s.flags.strategy, NULL, "auto, one (device), tp (a node's devices), nodes"},
        {"max-model-len", "N", FLAG_SETTING, NULL, "model.max_model_len", "tokens of one sequence (8k, 131072)"},
        {"concurrency", "N", FLAG_STRING, &s.flags.concurrency, NULL, "such sequences that must fit at once"},
        {"kv-dtype", "TYPE", FLAG_SETTING, NULL, "engine.kv_cache_dtype", "auto, float16, bfloat16 or float32"},
        {"quant", "METHOD", FLAG_STRING, &s.flags.quant, NULL, "as if quantized: " QUANT_METHODS},
        {"tp", "N", FLAG_STRING, &s.flags.tp, NULL, "devices that the model is spread over"},
        {"util", "X", FLAG_SETTING, NULL, "engine.gpu_memory_utilization", "share of the device's memory"},
        {"load-format", "F", FLAG_SETTING, NULL, "model.load_format", "dummy: a config.json is enough"},
        {"roi", NULL, FLAG_SWITCH, &s.flags.roi, NULL, "what a month costs there, and elsewhere by the token"},
        {"in", "N", FLAG_SETTING, NULL, "roi.input", "millions of prompt tokens a month"},
        {"cached", "N", FLAG_SETTING, NULL, "roi.cached", "and of those found in a cache"},
        {"out", "N", FLAG_SETTING, NULL, "roi.output", "millions of answer tokens a month"},
        {"peak", "N", FLAG_SETTING, NULL, "roi.peak_tokens_per_second", "answer tokens a second in the busiest hour"},
        {"throughput", "N", FLAG_SETTING, NULL, "roi.tokens_per_second", "measured answer tokens a second"},
        {"price", "NAME", FLAG_SETTING, NULL, "roi.price", "section [price NAME] to compare with"},
        {"price-in", "X", FLAG_NUMBER, &s.flags.prices.input, NULL, "a million prompt tokens elsewhere"},
        {"price-cached", "X", FLAG_NUMBER, &s.flags.prices.cached, NULL, "a million cached prompt tokens elsewhere"},
        {"price-out", "X", FLAG_NUMBER, &s.flags.prices.output, NULL, "a million answer tokens elsewhere"},
        {"svg", "FILE", FLAG_STRING, &s.flags.svg, NULL, "cost against volume as a picture"},
        {"json", NULL, FLAG_SWITCH, &s.flags.json, NULL, "as one JSON object"},
    };
    args a;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    args_set(&a, "model.path", a.positional[0]);
    if (s.flags.tp)
        args_set(&a, "backend.tensor_parallel_size", s.flags.tp);
    if (s.flags.concurrency)
        args_set(&a, "engine.max_num_seqs", s.flags.concurrency);
    tn_status status = read_strategy(s.flags.strategy, &s.request.strategy, &err);
    if (status == TN_OK)
        status = check_prices(&s.flags.prices, &err);
    if (status == TN_OK && s.flags.svg && !s.flags.roi)
        status = tn_fail(&err, TN_E_ARGUMENT, "--svg draws what --roi finds: give both");
    if (status == TN_OK)
        status = choose_backend(&s.flags, &a, &err);
    if (status != TN_OK) {
        args_finish(&a);
        return report(&err);
    }
    code = session_open(&s.session, &a, STAGE_MODEL);
    if (code >= 0)
        return code;
    code = answer(&s);
    for (uint32_t i = 0; i < s.request.encoding_count; i++)
        free((void *)s.encodings[i].weight_enc);
    free(s.planned);
    session_close(&s.session);
    args_finish(&a);
    return code;
}

const command command_plan = {
    .name = "plan",
    .arguments = "MODEL",
    .summary = "does it fit, how, and what is the most? from the model's headers alone",
    .help =
        "Needs no device and reads no weights. Exit code 0: it fits; 2: it does not, but each of the changes that are\n"
        "printed makes it fit; 3: none that is known does.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_plan,
};
