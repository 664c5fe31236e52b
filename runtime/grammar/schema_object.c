/* schema_object.c: properties in the order in which the schema names them, each once at most, then others.
 *
 * A node for "before property i, nothing written yet" and one for "something written": a comma is due then. Names
 * beyond those of the schema are strings less those names, so a name never has two meanings.
 */
#include "grammar/schema.h"
#include "grammar/text.h"

#include <string.h>

/* A name, and whether it must be there. */
typedef struct property {
    const char *name;
    bool required;
} property;

typedef struct object {
    const schema_list *list;
    property *property; /* owned */
    uint32_t count, capacity;
} object;

static void add_property(schema_compiler *c, object *object, const char *name, bool required)
{
    if (!nfa_spend(c->nfa, object->count + 1u))
        return;
    for (uint32_t i = 0; i < object->count; i++)
        if (strcmp(object->property[i].name, name) == 0) {
            object->property[i].required |= required;
            return;
        }
    if (!nfa_grow(c->nfa, (void **)&object->property, object->count, &object->capacity, sizeof *object->property,
                  GRAMMAR_STATES_MAX, "properties"))
        return;
    object->property[object->count++] = (property){name, required};
}

static void collect(schema_compiler *c, object *object)
{
    const char *name;
    json_t *value;
    size_t k;

    for (uint32_t i = 0; i < object->list->count; i++)
        json_object_foreach(json_object_get(object->list->member[i], "properties"), name, value)
        {
            add_property(c, object, name, false);
        }
    for (uint32_t i = 0; i < object->list->count; i++)
        json_array_foreach(json_object_get(object->list->member[i], "required"), k, value)
        {
            if (strlen(json_string_value(value)) != json_string_length(value))
                schema_fail(c, object->list->member[i], "required", "a name holds a NUL character");
            add_property(c, object, json_string_value(value), true);
        }
}

/* What a property must obey: for each member what it says of that name, or else of names that it does not list. */
static void rules_of(schema_compiler *c, const schema_list *list, const char *name, schema_list *ret_rules)
{
    *ret_rules = (schema_list){0};
    nfa_spend(c->nfa, 8 * list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        const json_t *named = name ? json_object_get(json_object_get(list->member[i], "properties"), name) : NULL;
        const json_t *rule = named ? named : json_object_get(list->member[i], "additionalProperties");
        if (rule)
            schema_list_add(c, ret_rules, rule);
    }
}

/* Whether names are allowed that no member lists. */
static bool is_open(const schema_compiler *c, const schema_list *list)
{
    bool said = false, named = false;
    for (uint32_t i = 0; i < list->count; i++) {
        const json_t *rule = json_object_get(list->member[i], "additionalProperties");
        if (json_is_false(rule))
            return false;
        said |= rule != NULL;
        named |= json_object_size(json_object_get(list->member[i], "properties")) > 0;
    }
    return said || !named || !c->strict;
}

static uint32_t add_name(nfa *nfa, uint32_t from, const char *name)
{
    uint32_t at = nfa_text(nfa, from, "\"", 1);
    at = text_literal(nfa, TEXT_JSON, at, name, strlen(name));
    return nfa_text(nfa, at, "\"", 1);
}

/* Any name but those of the schema. */
static uint32_t add_other_name(schema_compiler *c, uint32_t from, const object *object)
{
    nfa *nfa = c->nfa;
    uint32_t start = nfa_node(nfa), known = nfa_node(nfa), end = nfa_node(nfa);
    dfa all, listed, other;

    uint32_t at = text_any(nfa, TEXT_JSON, nfa_text(nfa, start, "\"", 1), 0, UINT32_MAX);
    at = nfa_text(nfa, at, "\"", 1);
    for (uint32_t i = 0; i < object->count; i++)
        nfa_empty(nfa, add_name(nfa, known, object->property[i].name), end);
    dfa_build(nfa, start, at, &all);
    dfa_build(nfa, known, end, &listed);
    dfa_subtract(nfa, &all, &listed, &other);
    at = nfa_add_dfa(nfa, from, &other);
    dfa_finish(&all);
    dfa_finish(&listed);
    dfa_finish(&other);
    return at;
}

/* ": value" behind a name. */
static uint32_t add_rest(schema_compiler *c, uint32_t from, const schema_list *list, const char *name)
{
    schema_list rules;
    rules_of(c, list, name, &rules);
    return schema_value(c, schema_blank(c, nfa_text(c->nfa, from, ":", 1)), &rules);
}

static void add_properties(schema_compiler *c, uint32_t open, const object *object, uint32_t to)
{
    nfa *nfa = c->nfa;
    uint32_t empty = open, some = nfa_node(nfa);

    for (uint32_t i = 0; i <= object->count && nfa->status == TN_OK; i++) {
        bool others = i == object->count;
        const property *property = others ? NULL : &object->property[i];
        if (others && !is_open(c, object->list))
            break;
        uint32_t name = nfa_node(nfa), next = others ? some : nfa_node(nfa);
        nfa_empty(nfa, empty, name);
        nfa_empty(nfa, schema_space(c, nfa_text(nfa, some, ",", 1)), name);
        uint32_t at = others ? add_other_name(c, name, object) : add_name(nfa, name, property->name);
        nfa_empty(nfa, add_rest(c, at, object->list, others ? NULL : property->name), next);
        if (others)
            break;
        uint32_t still_empty = nfa_node(nfa);
        if (!property->required) {
            nfa_empty(nfa, empty, still_empty);
            nfa_empty(nfa, some, next);
        }
        empty = still_empty;
        some = next;
    }
    nfa_empty(nfa, nfa_text(nfa, schema_space(c, some), "}", 1), to);
}

void schema_object(schema_compiler *c, uint32_t from, const schema_list *list, uint32_t to)
{
    object object = {.list = list};
    bool may_be_empty = true;

    collect(c, &object);
    for (uint32_t i = 0; i < object.count; i++)
        may_be_empty &= !object.property[i].required;
    uint32_t open = nfa_text(c->nfa, from, "{", 1);
    if (may_be_empty)
        nfa_empty(c->nfa, nfa_text(c->nfa, open, "}", 1), to);
    add_properties(c, schema_space(c, open), &object, to);
    free(object.property);
}
