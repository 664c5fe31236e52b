/* schema_array.c: a node for each number of items as far as their number or their places matter, then a loop. */
#include "grammar/schema.h"

typedef struct array {
    const schema_list *list;
    uint32_t min, max; /* UINT32_MAX: no limit */
    uint32_t prefix;   /* places with rules of their own */
} array;

/* The schemas of the first places; draft 7 calls them items, too. */
static const json_t *first_items(const json_t *schema)
{
    const json_t *items = json_object_get(schema, "items");
    return json_is_array(items) ? items : json_object_get(schema, "prefixItems");
}

/* The schema of all other places; NULL: anything. */
static const json_t *other_items(const json_t *schema)
{
    const json_t *items = json_object_get(schema, "items");
    return json_is_array(items) ? json_object_get(schema, "additionalItems") : items;
}

static void measure(schema_compiler *c, array *array)
{
    uint32_t count;

    array->max = UINT32_MAX;
    for (uint32_t i = 0; i < array->list->count; i++) {
        const json_t *schema = array->list->member[i];
        uint32_t prefix = (uint32_t)json_array_size(first_items(schema));
        if (schema_count(c, schema, "minItems", &count) && count > array->min)
            array->min = count;
        if (schema_count(c, schema, "maxItems", &count) && count < array->max)
            array->max = count;
        if (json_is_false(other_items(schema)) && prefix < array->max)
            array->max = prefix;
        array->prefix = prefix > array->prefix ? prefix : array->prefix;
    }
}

/* An item in its place. */
static uint32_t add_item(schema_compiler *c, uint32_t from, const schema_list *list, uint32_t place)
{
    schema_list rules = {0};
    nfa_spend(c->nfa, 8 * list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        const json_t *first = first_items(list->member[i]);
        const json_t *rule =
            place < json_array_size(first) ? json_array_get(first, place) : other_items(list->member[i]);
        if (rule)
            schema_list_add(c, &rules, rule);
    }
    return schema_value(c, from, &rules);
}

static void add_items(schema_compiler *c, uint32_t first, const array *array, uint32_t places, uint32_t to)
{
    nfa *nfa = c->nfa;
    uint32_t close = nfa_node(nfa), at = first;

    for (uint32_t i = 0; i < places && nfa->status == TN_OK; i++) {
        uint32_t item = i == 0 ? at : schema_space(c, nfa_text(nfa, at, ",", 1));
        at = nfa_node(nfa);
        nfa_empty(nfa, add_item(c, item, array->list, i), at);
        if (i + 1 >= array->min)
            nfa_empty(nfa, at, close);
    }
    if (array->max == UINT32_MAX) {
        uint32_t item = schema_space(c, nfa_text(nfa, at, ",", 1));
        nfa_empty(nfa, add_item(c, item, array->list, places), at);
    }
    nfa_empty(nfa, nfa_text(nfa, schema_space(c, close), "]", 1), to);
}

void schema_array(schema_compiler *c, uint32_t from, const schema_list *list, uint32_t to)
{
    array array = {.list = list};
    uint32_t open = nfa_text(c->nfa, from, "[", 1);

    measure(c, &array);
    if (array.min == 0)
        nfa_empty(c->nfa, nfa_text(c->nfa, open, "]", 1), to);
    /* Without a limit the last place repeats: it must be one that no rule is for alone. */
    uint32_t places = array.max;
    if (array.max == UINT32_MAX) {
        places = array.prefix > array.min ? array.prefix : array.min;
        places = places > 0 ? places : 1;
    }
    if (places > SCHEMA_ITEMS_MAX) {
        schema_fail(c, list->count > 0 ? list->member[0] : c->root, NULL, "an array's bounds are above %d items",
                    SCHEMA_ITEMS_MAX);
        return;
    }
    if (array.max > 0 && array.min <= array.max)
        add_items(c, schema_space(c, open), &array, places, to);
}
