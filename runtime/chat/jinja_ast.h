/* runtime/chat/jinja_ast.h: the tree of a compiled template. Immutable, so any number of renderings may walk it.
 *
 * One node shape serves all kinds; the comment beside a kind says what its fields hold. Lists of nodes hang together
 * by `next`.
 */
#ifndef CHAT_JINJA_AST_H
#define CHAT_JINJA_AST_H

#include "jinja_lexer.h"

typedef enum jinja_node_kind {
    /* statements */
    JINJA_NODE_DATA,         /* value: text */
    JINJA_NODE_PRINT,        /* a: expression */
    JINJA_NODE_IF,           /* a: test, body, otherwise (an elif is an IF in it) */
    JINJA_NODE_FOR,          /* a: target, b: iterated, c: test or NULL, body, otherwise, flag: recursive */
    JINJA_NODE_SET,          /* a: target, b: expression */
    JINJA_NODE_SET_BLOCK,    /* a: target, b: filters around a NULL operand, or NULL; body */
    JINJA_NODE_MACRO,        /* name; args: parameters; body; uses */
    JINJA_NODE_CALL_BLOCK,   /* a: CALL; args: parameters of caller; body; uses */
    JINJA_NODE_FILTER_BLOCK, /* b: filters; body */
    JINJA_NODE_WITH,         /* args: WITH_ITEMs; body */
    JINJA_NODE_WITH_ITEM,    /* a: target, b: expression */
    JINJA_NODE_SCOPE,        /* body: {% generation %}, {% block %} */
    JINJA_NODE_BREAK,
    JINJA_NODE_CONTINUE,
    /* expressions */
    JINJA_NODE_CONSTANT,   /* value */
    JINJA_NODE_NAME,       /* name */
    JINJA_NODE_MEMBER,     /* name: of the namespace, b: CONSTANT attribute; only as a target */
    JINJA_NODE_LIST,       /* args */
    JINJA_NODE_TUPLE,      /* args */
    JINJA_NODE_DICT,       /* args: keys and values in turn */
    JINJA_NODE_ATTRIBUTE,  /* a: object, name */
    JINJA_NODE_ELEMENT,    /* a: object, b: key or SLICE */
    JINJA_NODE_SLICE,      /* a, b, c: bounds or NULL */
    JINJA_NODE_CALL,       /* a: callee; args: ARGUMENTs */
    JINJA_NODE_ARGUMENT,   /* a: value; name: of a keyword or NULL; op: '*' or 'p' (for "**") */
    JINJA_NODE_FILTER,     /* a: operand, name, args: ARGUMENTs, function */
    JINJA_NODE_TEST,       /* a: operand, name, args: ARGUMENTs, function */
    JINJA_NODE_CHOICE,     /* a: test, b: then, c: else or NULL */
    JINJA_NODE_AND,        /* a, b */
    JINJA_NODE_OR,         /* a, b */
    JINJA_NODE_NOT,        /* a */
    JINJA_NODE_NEGATE,     /* a */
    JINJA_NODE_PLUS,       /* a */
    JINJA_NODE_ARITHMETIC, /* a, b, op: + - * / % f (//) p (**) */
    JINJA_NODE_CONCAT,     /* args */
    JINJA_NODE_COMPARE,    /* a; args: COMPARE_TO */
    JINJA_NODE_COMPARE_TO, /* a; op: = ! < > l (<=) g (>=) i (in) n (not in) */
    JINJA_NODE_PARAMETER,  /* name; a: default or NULL */
} jinja_node_kind;

/* Names with a meaning of their own that a macro's body reads. */
enum { JINJA_USES_VARARGS = 1, JINJA_USES_KWARGS = 2, JINJA_USES_CALLER = 4 };

typedef struct jinja_node jinja_node;
struct jinja_node {
    jinja_node_kind kind;
    uint32_t line;
    char op;
    bool flag;
    uint8_t uses;
    const jinja_string *name;
    const jinja_function *function; /* NULL: no such filter or test, an error once it is reached */
    jinja_node *a, *b, *c;
    jinja_node *args, *body, *otherwise;
    jinja_node *next;
    jinja_value value;
};

/* text: valid UTF-8. The tree lives as long as state. Fails with the line on a syntax error. */
jinja_node *jinja_parse(jinja_state *state, const char *text, uint64_t count);

#endif
