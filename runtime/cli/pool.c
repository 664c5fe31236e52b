/* pool.c: `tenon pool list|devices`: pools to plan for, and cards that pools are made of. */
#include "pool/pool.h"
#include "cli/command.h"
#include "cli/pool_use.h"

#include <jansson.h>
#include <string.h>

typedef struct listing {
    bool json;
    json_t *array; /* json */
} listing;

static const char *unit_of(double amount, double *ret_shown)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    int unit = 0;
    for (; amount >= 1000 && unit < 4; unit++)
        amount /= 1000;
    *ret_shown = amount;
    return units[unit];
}

/* "600 GB/s", or "-" where it is unknown. */
static const char *rate_text(double amount, const char *what, char text[24])
{
    double shown;
    const char *unit = unit_of(amount, &shown);
    if (amount > 0)
        snprintf(text, 24, "%.4g %s%s", shown, unit, what);
    else
        snprintf(text, 24, "-");
    return text;
}

/* ---- pools ---- */

static void print_pool(const pool *pool)
{
    char memory[16] = "-", bandwidth[24], devices[32], cost[48] = "-";

    if (pool->described)
        plan_format_bytes(pool->device.mem_total, memory);
    snprintf(devices, sizeof devices, pool->nodes > 1 ? "%u x %u" : "%u", pool->count, pool->nodes);
    if (pool->count == 0)
        snprintf(devices, sizeof devices, "all");
    if (pool->priced)
        snprintf(cost, sizeof cost, "%.2f %.16s", pool_month_cost(pool), pool->currency);
    printf("%-16s %-8s %-14s %12s %12s  %-8s %-10s %s\n", pool->name, devices,
           pool->described ? pool->device.name : "what is here", memory,
           rate_text(pool->memory_bandwidth, "B/s", bandwidth), device_link_name(pool->link),
           pool->backend ? pool->backend : "-", cost);
}

static json_t *pool_json(const pool *pool)
{
    json_t *object = json_pack("{s:s, s:b, s:s, s:i, s:i, s:s}", "name", pool->name, "described", pool->described,
                               "device", pool->device.name, "count", (int)pool->count, "nodes", (int)pool->nodes,
                               "link", device_link_name(pool->link));
    json_object_set_new(object, "memory", json_integer((json_int_t)pool->device.mem_total));
    json_object_set_new(object, "memory_bandwidth", json_real(pool->memory_bandwidth));
    json_object_set_new(object, "bf16_flops", json_real(pool->bf16_flops));
    if (pool->backend)
        json_object_set_new(object, "backend", json_string(pool->backend));
    if (pool->priced) {
        json_object_set_new(object, "month_cost", json_real(pool_month_cost(pool)));
        json_object_set_new(object, "currency", json_string(pool->currency));
    }
    return object;
}

static tn_status list_pools(const settings *settings, listing *listing, tn_error *err)
{
    tn_status status = TN_OK;
    if (!listing->json)
        printf("%-16s %-8s %-14s %12s %12s  %-8s %-10s %s\n", "pool", "devices", "device", "memory", "bandwidth",
               "link", "backend", "a month");
    for (uint32_t i = 0; status == TN_OK; i++) {
        pool pool;
        status = pool_at(settings, i, &pool, err);
        if (status == TN_OK && listing->json)
            json_array_append_new(listing->array, pool_json(&pool));
        else if (status == TN_OK)
            print_pool(&pool);
    }
    return status == TN_E_NOT_FOUND ? TN_OK : status;
}

/* ---- cards ---- */

static void list_cards(listing *listing)
{
    char memory[16], bandwidth[24], flops[24];
    const device_card *card;

    if (!listing->json)
        printf("%-12s %-8s %12s %12s %16s  %s\n", "device", "compute", "memory", "bandwidth", "bf16", "link");
    for (uint32_t i = 0; (card = device_card_at(i)); i++) {
        if (listing->json)
            json_array_append_new(listing->array,
                                  json_pack("{s:s, s:s, s:I, s:f, s:f, s:s}", "name", card->name, "compute",
                                            card->compute, "memory", (json_int_t)card->memory, "memory_bandwidth",
                                            card->memory_bandwidth, "bf16_flops", card->bf16_flops, "link",
                                            device_link_name(card->link)));
        else
            printf("%-12s %-8s %12s %12s %16s  %s\n", card->name, card->compute,
                   plan_format_bytes(card->memory, memory), rate_text(card->memory_bandwidth, "B/s", bandwidth),
                   rate_text(card->bf16_flops, "FLOP/s", flops), device_link_name(card->link));
    }
}

static int run_pool(const command *command, int argc, char **argv)
{
    listing listing = {0};
    daemon_flags daemon = {0};
    const flag flags[] = {{"json", NULL, FLAG_SWITCH, &listing.json, NULL, "as one JSON array; a daemon's as an object"},
                          DAEMON_FLAGS(daemon)};
    args a;
    settings *settings = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    bool cards = strcmp(a.positional[0], "devices") == 0;
    if (!cards && strcmp(a.positional[0], "list") != 0) {
        fprintf(stderr, "tenon pool: there is no 'pool %s'; there are list and devices\n", a.positional[0]);
        args_finish(&a);
        return EXIT_USAGE;
    }
    if (!cards && daemon.server) {
        code = pool_use_list(&daemon, &a, listing.json);
        args_finish(&a);
        return code;
    }
    tn_status status = settings_read(a.ini, a.sets, &settings, &err);
    listing.array = listing.json ? json_array() : NULL;
    if (status == TN_OK && cards)
        list_cards(&listing);
    else if (status == TN_OK)
        status = list_pools(settings, &listing, &err);
    if (status == TN_OK && listing.json) {
        json_dumpf(listing.array, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        putchar('\n');
    }
    json_decref(listing.array);
    settings_destroy(settings);
    args_finish(&a);
    return status == TN_OK ? 0 : report(&err);
}

const command command_pool = {
    .name = "pool",
    .arguments = "list|devices",
    .summary = "pools to plan for, or the cards that pools are made of",
    .help =
        "list: the predefined pools and those of the settings' [pool NAME] sections, with their cost by the month; with\n"
        "--server, what services hold of that daemon's pools.\n"
        "devices: the cards that a pool's device may name, as their drivers and makers describe them.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_pool,
};
