/* pool_use.c: see pool_use.h. */
#include "cli/pool_use.h"

#include "cli/service.h"

static long long number(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* "-" where it is not known. */
static const char *bytes_text(const json_t *object, const char *key, char text[16])
{
    const json_t *bytes = json_object_get(object, key);
    return json_is_integer(bytes) ? plan_format_bytes((uint64_t)json_integer_value(bytes), text) : "-";
}

static void print_pool(const json_t *pool)
{
    char total[16], reserved[16], free_text[16], held[16];
    size_t i;
    json_t *item;

    printf("%s: %lld of %lld services\n", service_text(pool, "name"), number(pool, "services"),
           number(pool, "max_services"));
    json_array_foreach(json_object_get(pool, "devices"), i, item)
    {
        printf("  device %-3lld %12s, %12s reserved, %12s free\n", number(item, "ordinal"),
               bytes_text(item, "total_bytes", total), bytes_text(item, "reserved_bytes", reserved),
               bytes_text(item, "free_bytes", free_text));
    }
    json_array_foreach(json_object_get(pool, "reserved"), i, item)
    {
        printf("  %-24s %12s  %s\n", service_text(item, "instance"), bytes_text(item, "bytes", held),
               service_text(item, "service"));
    }
}

int pool_use_list(const daemon_flags *flags, const args *args, bool json)
{
    daemon_client *client = NULL;
    json_t *pools = NULL, *pool;
    size_t i;
    tn_error err = TN_ERROR_INIT;

    int code = daemon_client_open(flags, args, &client, &err) == TN_OK
                   ? service_ask(client, "GET", "/pools", NULL, &pools)
                   : report(&err);
    if (code < 0) {
        code = 0;
        if (json)
            service_print_json(pools);
        json_array_foreach(json ? NULL : json_object_get(pools, "pools"), i, pool) print_pool(pool);
    }
    json_decref(pools);
    daemon_client_close(client);
    return code;
}
