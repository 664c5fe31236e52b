/* runtime/chat/jinja_value.h: the values of a template, with Python's semantics.
 *
 * Values are immutable but for namespaces, loops and generators; they share their storage freely, and all of it belongs
 * to the arena of the jinja_state they were made in (constants: to the compiled template). Text is valid UTF-8 and is
 * not terminated.
 */
#ifndef CHAT_JINJA_VALUE_H
#define CHAT_JINJA_VALUE_H

#include "jinja_state.h"

/* Python's integers have no bound; ours end at 127 bits, beyond which arithmetic fails. */
__extension__ typedef __int128 jinja_int;
__extension__ typedef unsigned __int128 jinja_uint;

typedef enum jinja_kind {
    JINJA_ABSENT, /* an argument that was not passed; never visible to a template */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_RANGE,
    JINJA_VIEW,      /* dict.keys(), .values(), .items() */
    JINJA_GENERATOR, /* what map, select... give: iterated once, no length */
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_FUNCTION,
    JINJA_MACRO,
    JINJA_LOOP,
    JINJA_CYCLER,
    JINJA_JOINER,
} jinja_kind;

typedef struct jinja_string {
    const char *bytes;
    uint64_t count;      /* bytes */
    uint64_t characters; /* code points */
    bool markup;         /* made by escape or safe */
} jinja_string;

typedef struct jinja_list jinja_list;
typedef struct jinja_dict jinja_dict;
typedef struct jinja_function jinja_function;
typedef struct jinja_macro jinja_macro;
typedef struct jinja_loop jinja_loop;
typedef struct jinja_undefined jinja_undefined;

typedef struct jinja_value {
    jinja_kind kind;
    union {
        bool boolean;
        jinja_int integer;
        double real;
        const jinja_string *string;
        jinja_list *list; /* LIST, TUPLE, RANGE, VIEW, GENERATOR, CYCLER, JOINER */
        jinja_dict *dict; /* DICT, NAMESPACE */
        const jinja_function *function;
        const jinja_macro *macro;
        jinja_loop *loop;
        const jinja_undefined *undefined;
    } as;
} jinja_value;

struct jinja_list {
    const jinja_value *items; /* NULL: a range */
    uint64_t count;
    jinja_int start, stop, step; /* of a range; CYCLER, GENERATOR, JOINER: start is the position */
    const char *label;           /* "dict_keys", ...: how a view is printed */
};

typedef struct jinja_entry {
    jinja_value key, value;
} jinja_entry;

/* In order of insertion. */
struct jinja_dict {
    jinja_entry *entries;
    uint64_t count, capacity;
};

/* Why a value is undefined; told when it is used. */
struct jinja_undefined {
    const char *text;  /* the whole reason, or NULL: made from name and owner */
    jinja_value name;  /* of the variable, attribute or element */
    const char *owner; /* type name of the object that lacks it; NULL: a variable */
};

typedef struct jinja_keyword {
    const jinja_string *name;
    jinja_value value;
} jinja_keyword;

/* One call of a filter, test, method or function. */
enum { JINJA_PARAMETERS_MAX = 6 };
typedef struct jinja_call {
    jinja_value self; /* the filtered or tested value, the method's object */
    const jinja_value *args;
    uint64_t n_args;
    const jinja_keyword *keywords;
    uint64_t n_keywords;
    jinja_value bound[JINJA_PARAMETERS_MAX]; /* by parameter; ABSENT if not passed */
} jinja_call;

/* parameters: names divided by spaces; NULL: takes args and keywords as they are. */
struct jinja_function {
    const char *name;
    jinja_value (*run)(jinja_state *state, jinja_call *call);
    const char *parameters;
    uint32_t n_required;
    jinja_value self; /* ABSENT but in a bound method */
};

/* Constructors. */
jinja_value jinja_undefined_variable(jinja_state *state, const jinja_string *name);
jinja_value jinja_undefined_member(jinja_state *state, jinja_value object, jinja_value name);
jinja_value jinja_undefined_because(jinja_state *state, const char *text);
static inline jinja_value jinja_none(void)
{
    return (jinja_value){.kind = JINJA_NONE};
}
static inline jinja_value jinja_bool(bool boolean)
{
    return (jinja_value){.kind = JINJA_BOOL, .as.boolean = boolean};
}
static inline jinja_value jinja_integer(jinja_int integer)
{
    return (jinja_value){.kind = JINJA_INT, .as.integer = integer};
}
static inline jinja_value jinja_real(double real)
{
    return (jinja_value){.kind = JINJA_FLOAT, .as.real = real};
}
/* Borrows bytes, which must live as long as the state. */
jinja_value jinja_text(jinja_state *state, const char *bytes, uint64_t count);
jinja_value jinja_text_copy(jinja_state *state, const char *bytes, uint64_t count);
/* Copies the buffer's text and closes it. */
jinja_value jinja_text_take(jinja_state *state, jinja_buffer *buffer);
/* items: borrowed. */
jinja_value jinja_list_of(jinja_state *state, jinja_kind kind, const jinja_value *items, uint64_t count);
jinja_value jinja_pair(jinja_state *state, jinja_value first, jinja_value second);
jinja_value jinja_dict_new(jinja_state *state, jinja_kind kind, uint64_t capacity);
/* Replaces or appends. Fails for keys that cannot be hashed. */
void jinja_dict_set(jinja_state *state, jinja_dict *dict, jinja_value key, jinja_value value);
/* Appends a key known to be new. */
void jinja_dict_append(jinja_state *state, jinja_dict *dict, jinja_value key, jinja_value value);
/* NULL if there is none. */
const jinja_value *jinja_dict_find(jinja_state *state, const jinja_dict *dict, jinja_value key);
const jinja_value *jinja_dict_find_name(jinja_state *state, const jinja_dict *dict, const jinja_string *name);

/* A list that grows while it is made. */
typedef struct jinja_builder {
    jinja_value *items;
    uint64_t count, capacity;
} jinja_builder;
void jinja_builder_add(jinja_state *state, jinja_builder *builder, jinja_value item);
jinja_value jinja_builder_take(jinja_state *state, jinja_builder *builder, jinja_kind kind);

/* Questions. */
const char *jinja_type_name(jinja_value value); /* Python's: "str", "NoneType" */
bool jinja_is_number(jinja_value value);        /* bool, int or float */
bool jinja_is_sequence(jinja_value value);      /* list, tuple or range */
bool jinja_truth(jinja_state *state, jinja_value value);
bool jinja_equal(jinja_state *state, jinja_value left, jinja_value right);
/* <0, 0, >0; fails where Python has no order. operation: "<", told in the message. NaN: `unordered`. */
enum { JINJA_UNORDERED = 2 };
int jinja_compare(jinja_state *state, jinja_value left, jinja_value right, const char *operation);
bool jinja_contains(jinja_state *state, jinja_value container, jinja_value item);
/* len(); fails where there is none. */
uint64_t jinja_length(jinja_state *state, jinja_value value);
bool jinja_is_iterable(jinja_value value);
bool jinja_is_callable(jinja_value value);
/* What a loop over value sees. Uses a generator up. */
const jinja_list *jinja_iterate(jinja_state *state, jinja_value value);
static inline jinja_value jinja_list_at(const jinja_list *list, uint64_t index)
{
    return list->items ? list->items[index] : jinja_integer(list->start + (jinja_int)index * list->step);
}
/* Fails with the reason if value is undefined. */
void jinja_require_defined(jinja_state *state, jinja_value value);

/* value[key]: an ABSENT value if there is no such element. */
jinja_value jinja_element(jinja_state *state, jinja_value value, jinja_value key);
/* Python's slice; NONE bounds are open. Fails for what has none. */
jinja_value jinja_slice(jinja_state *state, jinja_value value, jinja_value start, jinja_value stop, jinja_value step);

/* Strings, by characters and by bytes. */
jinja_value jinja_substring(jinja_state *state, const jinja_string *string, uint64_t start, uint64_t count);
jinja_value jinja_string_part(jinja_state *state, const jinja_string *string, uint64_t byte, uint64_t n_bytes);
bool jinja_string_equal(const jinja_string *left, const jinja_string *right);
bool jinja_string_is(const jinja_string *string, const char *text);
/* Offset of needle in string at or after byte `from`, or UINT64_MAX. */
uint64_t jinja_string_find(jinja_state *state, const jinja_string *string, const jinja_string *needle, uint64_t from);

#endif
