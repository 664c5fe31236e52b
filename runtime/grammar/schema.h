/* runtime/grammar/schema.h: JSON schemas to rules, the inside of grammar_compile. grammar.h says what is promised.
 *
 * What a value must obey is a list of schemas that all hold (its own, those of allOf, what $ref names). Such a list is
 * a rule; anyOf makes alternatives of it, each a list without references. A rule is compiled once and called wherever a
 * value of it stands, so that recursion in the schema is recursion in the grammar; values that are neither objects nor
 * arrays are put in place.
 */
#ifndef GRAMMAR_SCHEMA_H
#define GRAMMAR_SCHEMA_H

#include "grammar/automaton.h"

#include <jansson.h>

enum {
    SCHEMA_MEMBERS_MAX = 48,   /* schemas that hold together */
    SCHEMA_BRANCHES_MAX = 128, /* alternatives of one value */
    SCHEMA_RULES_MAX = 4096,
    SCHEMA_ITEMS_MAX = 1024, /* of an array whose number is bounded */
    SCHEMA_POINTER_BYTES = 160
};

/* Sets of types. */
enum {
    TYPE_NULL = 1u << 0,
    TYPE_BOOLEAN = 1u << 1,
    TYPE_OBJECT = 1u << 2,
    TYPE_ARRAY = 1u << 3,
    TYPE_STRING = 1u << 4,
    TYPE_INTEGER = 1u << 5,
    TYPE_FRACTION = 1u << 6, /* numbers that are no integers */
    TYPE_ALL = (1u << 7) - 1
};

/* Schemas that all hold. An empty list: anything. */
typedef struct schema_list {
    uint32_t count;
    const json_t *member[SCHEMA_MEMBERS_MAX];
} schema_list;

/* One way to obey: no member has a reference or an alternative left. */
typedef struct schema_branch {
    schema_list list;
    uint32_t types;
} schema_branch;

typedef struct schema_branches {
    uint32_t count;
    schema_branch branch[SCHEMA_BRANCHES_MAX];
} schema_branches;

typedef struct schema_rule {
    schema_list list;   /* as its members came, which is the order of their properties */
    schema_list sorted; /* ascending, by which it is found */
    uint32_t start, end;
} schema_rule;

typedef struct schema_compiler {
    nfa *nfa;
    const json_t *root;
    bool strict; /* an object with named properties has no others unless additionalProperties says so */
    uint32_t rule_count, rule_capacity;
    schema_rule *rule; /* the first is the root's */
    json_t *tags;      /* owned; by name, schemas that require it; NULL: none */
} schema_compiler;

/* ---- schema_keyword.c ---- */

/* Breaks the builder with a message about a schema: its JSON pointer, then the sentence. */
void schema_fail(schema_compiler *c, const json_t *schema, const char *keyword, const char *format, ...)
    TN_PRINTF(4, 5);
/* If what was just added for a keyword is what broke the builder ("json_schema: ..."; limits are the whole schema's):
 * says in its message where that stands. Only then, since it looks through the root. */
void schema_locate(const schema_compiler *c, const json_t *schema, const char *keyword);
/* Refuses keywords that are unknown or unsupported, and values of the wrong kind. */
void schema_check(schema_compiler *c, const json_t *schema);
uint32_t schema_types(schema_compiler *c, const json_t *schema);
/* A count such as minItems; false if the member has none. */
bool schema_count(schema_compiler *c, const json_t *schema, const char *keyword, uint32_t *ret_count);

/* ---- schema_branch.c ---- */

/* The alternatives of a list; NULL: the builder is broken. Freed by the caller. */
schema_branches *schema_expand(schema_compiler *c, const schema_list *list);

/* ---- schema.c ---- */

/* A value that obeys list; returns its end. */
uint32_t schema_value(schema_compiler *c, uint32_t from, const schema_list *list);
/* White space that may stand here: nothing, a space, or a line break and some blanks. */
uint32_t schema_space(schema_compiler *c, uint32_t from);
/* Behind a colon: nothing or a space. */
uint32_t schema_blank(schema_compiler *c, uint32_t from);
void schema_list_add(schema_compiler *c, schema_list *list, const json_t *schema);
/* Compiles the root's rule and all that it calls. */
void schema_compile(schema_compiler *c);

/* ---- schema_scalar.c, schema_object.c, schema_array.c: what one branch allows of a type, from -> to ---- */

void schema_scalars(schema_compiler *c, uint32_t from, const schema_branch *branch, uint32_t to);
void schema_object(schema_compiler *c, uint32_t from, const schema_list *list, uint32_t to);
void schema_array(schema_compiler *c, uint32_t from, const schema_list *list, uint32_t to);
/* The values of enum and const that all members allow; true if a member has either. */
bool schema_constants(schema_compiler *c, uint32_t from, const schema_branch *branch, uint32_t to);
/* Equal as JSON Schema has it: numbers by their value. Each value looked at is a step. */
bool schema_equal(schema_compiler *c, const json_t *a, const json_t *b);
/* One fixed value. Returns the end. */
uint32_t schema_constant(schema_compiler *c, uint32_t from, const json_t *value);

#endif
