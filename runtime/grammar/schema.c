/* schema.c: rules, and a value as what each of its alternatives allows. */
#include "grammar/schema.h"

#include <string.h>

enum { BLANKS_MAX = 16 }; /* behind a line break: eight levels of two */

void schema_list_add(schema_compiler *c, schema_list *list, const json_t *schema)
{
    if (json_is_true(schema))
        return;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->member[i] == schema)
            return;
    if (list->count == SCHEMA_MEMBERS_MAX)
        schema_fail(c, schema, NULL, "more than %d schemas hold together", SCHEMA_MEMBERS_MAX);
    else
        list->member[list->count++] = schema;
}

uint32_t schema_space(schema_compiler *c, uint32_t from)
{
    nfa *nfa = c->nfa;
    uint32_t end = nfa_node(nfa), at = nfa_node(nfa);

    nfa_empty(nfa, from, end);
    nfa_bytes(nfa, from, ' ', ' ', end);
    nfa_bytes(nfa, from, '\n', '\n', at);
    nfa_empty(nfa, at, end);
    for (int i = 0; i < BLANKS_MAX; i++) {
        uint32_t next = nfa_node(nfa);
        nfa_bytes(nfa, at, ' ', ' ', next);
        nfa_bytes(nfa, at, '\t', '\t', next);
        nfa_empty(nfa, next, end);
        at = next;
    }
    return end;
}

uint32_t schema_blank(schema_compiler *c, uint32_t from)
{
    uint32_t end = nfa_node(c->nfa);

    nfa_empty(c->nfa, from, end);
    nfa_bytes(c->nfa, from, ' ', ' ', end);
    return end;
}

/* ---- rules ---- */

static int compare_members(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t) * (const json_t *const *)a, right = (uintptr_t) * (const json_t *const *)b;
    return (left > right) - (left < right);
}

/* The rule of a list; a new one is compiled later. */
static uint32_t find_rule(schema_compiler *c, const schema_list *list)
{
    schema_list sorted = *list;

    qsort(sorted.member, sorted.count, sizeof *sorted.member, compare_members);
    if (!nfa_spend(c->nfa, c->rule_count))
        return 0;
    for (uint32_t i = 0; i < c->rule_count; i++) {
        const schema_list *known = &c->rule[i].sorted;
        if (known->count == sorted.count &&
            memcmp(known->member, sorted.member, sorted.count * sizeof *sorted.member) == 0)
            return i;
    }
    if (!nfa_grow(c->nfa, (void **)&c->rule, c->rule_count, &c->rule_capacity, sizeof *c->rule, SCHEMA_RULES_MAX,
                  "rules"))
        return 0;
    c->rule[c->rule_count] = (schema_rule){.list = *list, .sorted = sorted};
    return c->rule_count++;
}

/* What the alternatives allow, in place. */
static void add_branches(schema_compiler *c, uint32_t from, const schema_branches *branches, uint32_t to)
{
    for (uint32_t i = 0; i < branches->count && c->nfa->status == TN_OK; i++) {
        const schema_branch *branch = &branches->branch[i];
        nfa_spend(c->nfa, 16 * branch->list.count); /* a dozen keywords are looked for in each member */
        if (schema_constants(c, from, branch, to))
            continue;
        schema_scalars(c, from, branch, to);
        if (branch->types & TYPE_ARRAY)
            schema_array(c, from, &branch->list, to);
        if (branch->types & TYPE_OBJECT)
            schema_object(c, from, &branch->list, to);
    }
}

/* A value with objects or arrays in it is a rule of its own: it may hold itself. */
static bool is_flat(const schema_branches *branches)
{
    uint32_t types = 0;
    for (uint32_t i = 0; i < branches->count; i++)
        types |= branches->branch[i].types;
    return (types & (TYPE_OBJECT | TYPE_ARRAY)) == 0;
}

uint32_t schema_value(schema_compiler *c, uint32_t from, const schema_list *list)
{
    uint32_t to = nfa_node(c->nfa);

    for (uint32_t i = 0; i < list->count; i++)
        if (json_is_false(list->member[i]))
            return to;
    schema_branches *branches = schema_expand(c, list);
    if (!branches)
        return to;
    if (is_flat(branches))
        add_branches(c, from, branches, to);
    else
        nfa_call(c->nfa, from, find_rule(c, list), to);
    free(branches);
    return to;
}

static void compile_rule(schema_compiler *c, uint32_t index)
{
    schema_list list = c->rule[index].list; /* the array may move */
    uint32_t start = nfa_node(c->nfa), end = nfa_node(c->nfa);
    schema_branches *branches = schema_expand(c, &list);

    if (!branches)
        return;
    add_branches(c, start, branches, end);
    free(branches);
    c->rule[index].start = start;
    c->rule[index].end = end;
}

void schema_compile(schema_compiler *c)
{
    if (!nfa_grow(c->nfa, (void **)&c->rule, 0, &c->rule_capacity, sizeof *c->rule, SCHEMA_RULES_MAX, "rules"))
        return;
    c->rule[0] = (schema_rule){0};
    c->rule_count = 1;
    schema_list_add(c, &c->rule[0].list, c->root);
    c->rule[0].sorted = c->rule[0].list;
    for (uint32_t i = 0; i < c->rule_count && c->nfa->status == TN_OK; i++)
        compile_rule(c, i);
}
