/* schema_branch.c: a list of schemas to its alternatives, in which $ref, allOf, anyOf and oneOf are resolved.
 *
 * A branch under way is a list of schemas looked at and yet to be looked at. Each knows through which other it came:
 * one that comes through itself again adds no finite document, so such a branch has none; one met twice otherwise says
 * the same twice.
 */
#include "grammar/schema.h"

#include <string.h>

enum { PATH_MAX_COUNT = 160 };
#define NO_PARENT UINT32_MAX

typedef struct step {
    const json_t *schema;
    uint32_t parent; /* through which it came */
} step;

/* A branch under way. */
typedef struct path {
    uint32_t count, next; /* steps; the first that has not been looked at */
    step step[PATH_MAX_COUNT];
} path;

typedef struct paths {
    uint32_t count;
    path path[SCHEMA_BRANCHES_MAX];
} paths;

/* ---- references ---- */

/* Undoes ~0, ~1 and %XX in one part of a pointer. */
static bool unescape(const char *text, size_t n, char *out, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (used + 1 >= capacity)
            return false;
        if (c == '%' && i + 2 < n) {
            char hex[3] = {text[i + 1], text[i + 2], '\0'}, *end;
            c = (char)strtol(hex, &end, 16);
            if (end != hex + 2)
                return false;
            i += 2;
        }
        if (c == '~' && i + 1 < n && (text[i + 1] == '0' || text[i + 1] == '1'))
            c = text[++i] == '0' ? '~' : '/';
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

static const json_t *resolve(schema_compiler *c, const json_t *schema)
{
    const char *reference = json_string_value(json_object_get(schema, "$ref")), *at = reference;
    const json_t *found = c->root;

    if (*at != '#' || (at[1] != '\0' && at[1] != '/')) {
        schema_fail(c, schema, "$ref", "'%.64s' is not supported, only references within the schema: '#/...'",
                    reference);
        return NULL;
    }
    for (at++; *at == '/' && found;) {
        char key[256];
        size_t n = strcspn(++at, "/");
        if (!nfa_spend(c->nfa, n + 8))
            return NULL;
        if (!unescape(at, n, key, sizeof key)) {
            schema_fail(c, schema, "$ref", "'%.64s' is no JSON pointer", reference);
            return NULL;
        }
        if (json_is_array(found)) {
            char *end;
            unsigned long index = strtoul(key, &end, 10);
            found = *key && !*end ? json_array_get(found, index) : NULL;
        } else {
            found = json_object_get(found, key);
        }
        at += n;
    }
    if (!json_is_object(found) && !json_is_boolean(found)) {
        schema_fail(c, schema, "$ref", "'%.64s' leads to no schema", reference);
        return NULL;
    }
    return found;
}

/* ---- steps ---- */

typedef enum added { ADDED, KNOWN, ENDLESS } added;

static added add_step(schema_compiler *c, path *path, const json_t *schema, uint32_t parent)
{
    for (uint32_t up = parent; up != NO_PARENT; up = path->step[up].parent)
        if (path->step[up].schema == schema)
            return ENDLESS;
    for (uint32_t i = 0; i < path->count; i++)
        if (path->step[i].schema == schema)
            return KNOWN;
    if (path->count == PATH_MAX_COUNT) {
        schema_fail(c, schema, NULL, "more than %d schemas hold together", PATH_MAX_COUNT);
        return ENDLESS;
    }
    path->step[path->count++] = (step){schema, parent};
    return ADDED;
}

/* ---- oneOf ---- */

/* The one property that tells two objects apart, or the types: true if no value obeys both. Looks at plain schemas.
 * tag: a property that both require, whether they say so or not; NULL: none. */
static bool are_disjoint(schema_compiler *c, const json_t *a, const json_t *b, const char *tag, uint32_t depth);

static const json_t *through(schema_compiler *c, const json_t *schema)
{
    for (int i = 0; i < 16 && schema && json_object_get(schema, "$ref") && c->nfa->status == TN_OK; i++)
        schema = resolve(c, schema);
    return schema;
}

static bool has_value(schema_compiler *c, const json_t *schema, const json_t *value)
{
    const json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    json_t *item;
    size_t i;

    if (constant)
        return schema_equal(c, constant, value);
    json_array_foreach(list, i, item)
    {
        if (schema_equal(c, item, value))
            return true;
    }
    return false;
}

static bool has_values(const json_t *schema)
{
    return json_object_get(schema, "const") || json_object_get(schema, "enum");
}

static bool are_values_disjoint(schema_compiler *c, const json_t *a, const json_t *b)
{
    const json_t *constant = json_object_get(a, "const");
    json_t *item;
    size_t i;

    if (!has_values(a) || !has_values(b))
        return false;
    if (constant)
        return !has_value(c, b, constant);
    json_array_foreach(json_object_get(a, "enum"), i, item)
    {
        if (has_value(c, b, item) || c->nfa->status != TN_OK)
            return false;
    }
    return true;
}

static bool is_required(schema_compiler *c, const json_t *schema, const char *name, const char *tag)
{
    const json_t *list = json_object_get(schema, "required");
    json_t *item;
    size_t i;

    if (tag && strcmp(tag, name) == 0)
        return true;
    nfa_spend(c->nfa, json_array_size(list));
    json_array_foreach(list, i, item)
    {
        if (strcmp(json_string_value(item), name) == 0)
            return true;
    }
    return false;
}

static bool are_disjoint(schema_compiler *c, const json_t *a, const json_t *b, const char *tag, uint32_t depth)
{
    const char *name;
    json_t *property;

    a = through(c, a);
    b = through(c, b);
    if (c->nfa->status != TN_OK || json_is_false(a) || json_is_false(b))
        return true;
    schema_check(c, a);
    schema_check(c, b);
    if (c->nfa->status != TN_OK || are_values_disjoint(c, a, b))
        return true;
    uint32_t shared = schema_types(c, a) & schema_types(c, b);
    if (shared == 0)
        return true;
    if (shared != TYPE_OBJECT || depth == 0)
        return false;
    json_object_foreach(json_object_get(a, "properties"), name, property)
    {
        nfa_spend(c->nfa, 8);
        const json_t *other = json_object_get(json_object_get(b, "properties"), name);
        if (other && is_required(c, a, name, tag) && is_required(c, b, name, tag) &&
            are_disjoint(c, property, other, NULL, depth - 1))
            return true;
    }
    return false;
}

/* The property by which OpenAPI's discriminator tells the branches of oneOf apart; NULL: there is none. Its readers
 * need it, even where a default keeps it out of `required`: so documents here have it. */
static const char *tag_of(const json_t *schema)
{
    return json_string_value(json_object_get(json_object_get(schema, "discriminator"), "propertyName"));
}

/* The schema that requires a property, the same at each call: rules are told apart by their schemas. NULL: broken. */
static const json_t *require_tag(schema_compiler *c, const char *name)
{
    const json_t *known = json_object_get(c->tags, name);
    json_t *made = known ? NULL : json_pack("{s:[s]}", "required", name);

    if (known)
        return known;
    if (!c->tags)
        c->tags = json_object();
    if (!made || json_object_set_new(c->tags, name, made) != 0) {
        nfa_fail(c->nfa, TN_E_MEMORY, "out of memory for a schema");
        return NULL;
    }
    return made;
}

static void check_disjoint(schema_compiler *c, const json_t *schema)
{
    const json_t *list = json_object_get(schema, "oneOf");
    const char *tag = tag_of(schema);

    if (json_array_size(list) > SCHEMA_BRANCHES_MAX)
        return; /* refused as alternatives are */
    for (size_t i = 0; i < json_array_size(list) && c->nfa->status == TN_OK; i++)
        for (size_t k = 0; k < i; k++)
            if (!are_disjoint(c, json_array_get(list, k), json_array_get(list, i), tag, 4)) {
                schema_fail(c, schema, "oneOf",
                            "branches %zu and %zu could both hold; supported are branches that differ in type, or in "
                            "the constants of a required property. anyOf may be what is meant",
                            k, i);
                return;
            }
}

/* ---- expansion ---- */

/* Goes on with each alternative of the path's next schema; the path itself takes the first. False: it has none. */
static bool choose(schema_compiler *c, paths *paths, uint32_t index, const json_t *list)
{
    path *path = &paths->path[index];
    uint32_t parent = path->next;
    size_t count = json_array_size(list);

    for (size_t i = count; i-- > 0;) {
        struct path *at = path;
        if (i > 0) {
            if (paths->count == SCHEMA_BRANCHES_MAX) {
                schema_fail(c, path->step[parent].schema, NULL, "a value has more than %d alternatives",
                            SCHEMA_BRANCHES_MAX);
                return false;
            }
            at = &paths->path[paths->count];
            *at = *path;
        }
        bool ends = add_step(c, at, json_array_get(list, i), parent) == ENDLESS;
        if (i == 0)
            return !ends;
        paths->count += !ends;
    }
    return false;
}

/* Looks at a path's next schema; false: no document obeys the path. */
static bool look(schema_compiler *c, paths *paths, uint32_t index)
{
    path *path = &paths->path[index];
    uint32_t here = path->next;
    const json_t *schema = path->step[here].schema, *all, *any, *one;

    if (json_is_false(schema))
        return false;
    path->next++;
    if (json_is_true(schema))
        return true;
    schema_check(c, schema);
    if (!nfa_spend(c->nfa, 1))
        return false;
    if (json_object_get(schema, "$ref")) {
        const json_t *target = resolve(c, schema);
        if (!target || add_step(c, path, target, here) == ENDLESS)
            return false;
    }
    all = json_object_get(schema, "allOf");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (add_step(c, path, json_array_get(all, i), here) == ENDLESS)
            return false;
    any = json_object_get(schema, "anyOf");
    one = json_object_get(schema, "oneOf");
    if (one)
        check_disjoint(c, schema);
    if (one && tag_of(schema)) {
        const json_t *tag = require_tag(c, tag_of(schema));
        if (!tag || add_step(c, path, tag, here) == ENDLESS)
            return false;
    }
    if (any && one) {
        schema_fail(c, schema, "oneOf", "anyOf and oneOf side by side are not supported");
        return false;
    }
    if (c->nfa->status != TN_OK || (!any && !one))
        return c->nfa->status == TN_OK;
    path->next = here; /* the parent of what is chosen */
    uint32_t before = paths->count;
    bool goes_on = choose(c, paths, index, any ? any : one);
    for (uint32_t i = before; i < paths->count; i++)
        paths->path[i].next = here + 1;
    path->next = here + 1;
    return goes_on;
}

static void take_branch(schema_compiler *c, const path *path, schema_branches *branches)
{
    schema_branch *branch = &branches->branch[branches->count];

    *branch = (schema_branch){.types = TYPE_ALL};
    nfa_spend(c->nfa, 16 * path->count);
    for (uint32_t i = 0; i < path->count; i++) {
        const json_t *schema = path->step[i].schema;
        if (!json_is_object(schema))
            continue;
        schema_list_add(c, &branch->list, schema);
        branch->types &= schema_types(c, schema);
    }
    branches->count += branch->types != 0;
}

schema_branches *schema_expand(schema_compiler *c, const schema_list *list)
{
    /* Not cleared: they have room for the worst, and mostly one path is used. */
    paths *paths = c->nfa->status == TN_OK ? malloc(sizeof *paths) : NULL;
    schema_branches *branches = paths ? malloc(sizeof *branches) : NULL;

    if (!branches) {
        nfa_fail(c->nfa, TN_E_MEMORY, "out of memory for a schema");
        free(paths);
        return NULL;
    }
    branches->count = 0;
    paths->count = 1;
    paths->path[0].count = paths->path[0].next = 0;
    nfa_spend(c->nfa, 64);
    for (uint32_t i = 0; i < list->count; i++)
        add_step(c, &paths->path[0], list->member[i], NO_PARENT);
    for (uint32_t i = 0; i < paths->count && c->nfa->status == TN_OK; i++) {
        bool holds = true;
        while (holds && paths->path[i].next < paths->path[i].count)
            holds = look(c, paths, i);
        if (holds && c->nfa->status == TN_OK)
            take_branch(c, &paths->path[i], branches);
    }
    free(paths);
    if (c->nfa->status == TN_OK)
        return branches;
    free(branches);
    return NULL;
}
