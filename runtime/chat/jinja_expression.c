/* runtime/chat/jinja_expression.c: expressions, by recursive descent.
 *
 * The order of binding is Jinja's, which is not Python's: "~" binds tighter than "+", "**" groups from the left, and a
 * minus sign binds tighter than "**" but looser than a filter does to a bare operand.
 */
#include "jinja_builtins.h"
#include "jinja_parser.h"

#include <string.h>

static jinja_node *parse_primary(jinja_parser *parser);
static jinja_node *parse_unary(jinja_parser *parser, bool filters);

static jinja_node *binary(jinja_parser *parser, jinja_node_kind kind, char op, jinja_node *left, jinja_node *right)
{
    jinja_node *node = jinja_node_new(parser, kind);
    node->line = left->line;
    node->op = op;
    node->a = left;
    node->b = right;
    return node;
}

static jinja_node *parse_power(jinja_parser *parser)
{
    jinja_node *left = parse_unary(parser, true);
    while (jinja_skip_operator(parser, "**"))
        left = binary(parser, JINJA_NODE_ARITHMETIC, 'p', left, parse_unary(parser, true));
    return left;
}

static jinja_node *parse_product(jinja_parser *parser)
{
    jinja_node *left = parse_power(parser);
    for (;;) {
        char op = jinja_skip_operator(parser, "*")    ? '*'
                  : jinja_skip_operator(parser, "/")  ? '/'
                  : jinja_skip_operator(parser, "//") ? 'f'
                  : jinja_skip_operator(parser, "%")  ? '%'
                                                      : 0;
        if (!op)
            return left;
        left = binary(parser, JINJA_NODE_ARITHMETIC, op, left, parse_power(parser));
    }
}

static jinja_node *parse_concat(jinja_parser *parser)
{
    jinja_node *first = parse_product(parser);
    if (!jinja_at_operator(parser, "~"))
        return first;
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_CONCAT);
    jinja_node **link = &node->args;
    for (;;) {
        jinja_node *argument = jinja_node_new(parser, JINJA_NODE_ARGUMENT); /* a node has one `next` */
        argument->a = first;
        *link = argument;
        link = &argument->next;
        if (!jinja_skip_operator(parser, "~"))
            return node;
        first = parse_product(parser);
    }
}

static jinja_node *parse_sum(jinja_parser *parser)
{
    jinja_node *left = parse_concat(parser);
    for (;;) {
        char op = jinja_skip_operator(parser, "+") ? '+' : jinja_skip_operator(parser, "-") ? '-' : 0;
        if (!op)
            return left;
        left = binary(parser, JINJA_NODE_ARITHMETIC, op, left, parse_concat(parser));
    }
}

/* Steps over a comparison; 0 if there is none. */
static char skip_comparison(jinja_parser *parser)
{
    static const char *const texts[] = {"==", "!=", "<=", ">=", "<", ">"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (jinja_skip_operator(parser, texts[i]))
            return "=!lg<>"[i];
    if (jinja_skip_word(parser, "in"))
        return 'i';
    if (jinja_at_word(parser, "not")) {
        parser->at++;
        if (jinja_skip_word(parser, "in"))
            return 'n';
        parser->at--;
    }
    return 0;
}

static jinja_node *parse_comparison(jinja_parser *parser)
{
    jinja_node *left = parse_sum(parser);
    char op = skip_comparison(parser);
    if (!op)
        return left;
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_COMPARE);
    jinja_node **link = &node->args;
    node->a = left;
    for (; op; op = skip_comparison(parser)) {
        jinja_node *operand = jinja_node_new(parser, JINJA_NODE_COMPARE_TO);
        operand->op = op;
        operand->a = parse_sum(parser);
        *link = operand;
        link = &operand->next;
    }
    return node;
}

static jinja_node *parse_not(jinja_parser *parser)
{
    if (!jinja_at_word(parser, "not"))
        return parse_comparison(parser);
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_NOT);
    parser->at++;
    jinja_depth_enter(parser->state);
    node->a = parse_not(parser);
    jinja_depth_leave(parser->state);
    return node;
}

static jinja_node *parse_and(jinja_parser *parser)
{
    jinja_node *left = parse_not(parser);
    while (jinja_skip_word(parser, "and"))
        left = binary(parser, JINJA_NODE_AND, 0, left, parse_not(parser));
    return left;
}

static jinja_node *parse_or(jinja_parser *parser)
{
    jinja_node *left = parse_and(parser);
    while (jinja_skip_word(parser, "or"))
        left = binary(parser, JINJA_NODE_OR, 0, left, parse_and(parser));
    return left;
}

static jinja_node *parse_choice(jinja_parser *parser)
{
    jinja_depth_enter(parser->state);
    jinja_node *then = parse_or(parser);
    while (jinja_skip_word(parser, "if")) {
        jinja_node *node = jinja_node_new(parser, JINJA_NODE_CHOICE);
        node->b = then;
        node->a = parse_or(parser);
        if (jinja_skip_word(parser, "else"))
            node->c = parse_choice(parser);
        then = node;
    }
    jinja_depth_leave(parser->state);
    return then;
}

jinja_node *jinja_parse_expression(jinja_parser *parser)
{
    return parse_choice(parser);
}

static bool at_tuple_end(const jinja_parser *parser, const char *end)
{
    return parser->at->kind == JINJA_TOKEN_PRINT_END || parser->at->kind == JINJA_TOKEN_BLOCK_END ||
           jinja_at_operator(parser, ")") || (end && jinja_at_word(parser, end));
}

enum { TUPLE_CHOICES = 1, TUPLE_PARENTHESES = 2, TUPLE_TARGETS = 4, TUPLE_MEMBERS = 8 };

static jinja_node *parse_target_item(jinja_parser *parser, int flags)
{
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    if (jinja_skip_operator(parser, "(")) {
        jinja_depth_enter(parser->state);
        jinja_node *inner = jinja_parse_target(parser, flags & TUPLE_MEMBERS, NULL);
        jinja_depth_leave(parser->state);
        jinja_expect_operator(parser, ")");
        return inner;
    }
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_NAME);
    node->name = jinja_expect_name(parser);
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (jinja_string_is(node->name, constants[i]))
            jinja_fail(parser->state, "cannot assign to '%s'", constants[i]);
    if ((flags & TUPLE_MEMBERS) && jinja_skip_operator(parser, ".")) {
        node->kind = JINJA_NODE_MEMBER;
        node->b = jinja_node_new(parser, JINJA_NODE_CONSTANT);
        node->b->value = (jinja_value){.kind = JINJA_STRING, .as.string = jinja_expect_name(parser)};
    }
    return node;
}

static jinja_node *parse_tuple(jinja_parser *parser, int flags, const char *end)
{
    jinja_node *first = NULL, **link = &first;
    bool is_tuple = false;
    jinja_depth_enter(parser->state);
    jinja_node *tuple = jinja_node_new(parser, JINJA_NODE_TUPLE);
    while (!at_tuple_end(parser, end)) {
        jinja_node *argument = jinja_node_new(parser, JINJA_NODE_ARGUMENT);
        argument->a = flags & TUPLE_TARGETS   ? parse_target_item(parser, flags)
                      : flags & TUPLE_CHOICES ? parse_choice(parser)
                                              : parse_or(parser);
        *link = argument;
        link = &argument->next;
        if (!jinja_skip_operator(parser, ","))
            break;
        is_tuple = true;
    }
    jinja_depth_leave(parser->state);
    if (!is_tuple && first)
        return first->a;
    if (!is_tuple && !(flags & TUPLE_PARENTHESES))
        jinja_fail_unexpected(parser, "an expression");
    tuple->args = first;
    return tuple;
}

jinja_node *jinja_parse_tuple(jinja_parser *parser, bool choices, const char *end)
{
    return parse_tuple(parser, choices ? TUPLE_CHOICES : 0, end);
}

jinja_node *jinja_parse_target(jinja_parser *parser, bool members, const char *end)
{
    return parse_tuple(parser, TUPLE_TARGETS | (members ? TUPLE_MEMBERS : 0), end);
}

static jinja_node *parse_display(jinja_parser *parser, jinja_node_kind kind, const char *close)
{
    jinja_node *node = jinja_node_new(parser, kind);
    jinja_node **link = &node->args;
    parser->at++;
    while (!jinja_at_operator(parser, close)) {
        if (node->args) {
            jinja_expect_operator(parser, ",");
            if (jinja_at_operator(parser, close))
                break;
        }
        int count = kind == JINJA_NODE_DICT ? 2 : 1;
        for (int i = 0; i < count; i++) {
            if (i)
                jinja_expect_operator(parser, ":");
            jinja_node *argument = jinja_node_new(parser, JINJA_NODE_ARGUMENT);
            argument->a = jinja_parse_expression(parser);
            *link = argument;
            link = &argument->next;
        }
    }
    parser->at++;
    return node;
}

static jinja_node *parse_strings(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_CONSTANT);
    node->value = (parser->at++)->value;
    if (node->value.kind != JINJA_STRING || parser->at->kind != JINJA_TOKEN_CONSTANT ||
        parser->at->value.kind != JINJA_STRING)
        return node;
    jinja_buffer *buffer = jinja_buffer_open(parser->state);
    jinja_buffer_add(parser->state, buffer, node->value.as.string->bytes, node->value.as.string->count);
    for (; parser->at->kind == JINJA_TOKEN_CONSTANT && parser->at->value.kind == JINJA_STRING; parser->at++)
        jinja_buffer_add(parser->state, buffer, parser->at->value.as.string->bytes, parser->at->value.as.string->count);
    node->value = jinja_text_take(parser->state, buffer);
    return node;
}

static jinja_node *parse_name(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_CONSTANT);
    const jinja_string *name = jinja_expect_name(parser);
    if (jinja_string_is(name, "true") || jinja_string_is(name, "True"))
        node->value = jinja_bool(true);
    else if (jinja_string_is(name, "false") || jinja_string_is(name, "False"))
        node->value = jinja_bool(false);
    else if (jinja_string_is(name, "none") || jinja_string_is(name, "None"))
        node->value = jinja_none();
    else {
        node->kind = JINJA_NODE_NAME;
        node->name = name;
        parser->uses |= jinja_string_is(name, "varargs")  ? JINJA_USES_VARARGS
                        : jinja_string_is(name, "kwargs") ? JINJA_USES_KWARGS
                        : jinja_string_is(name, "caller") ? JINJA_USES_CALLER
                                                          : 0;
    }
    return node;
}

static jinja_node *parse_primary(jinja_parser *parser)
{
    if (parser->at->kind == JINJA_TOKEN_NAME)
        return parse_name(parser);
    if (parser->at->kind == JINJA_TOKEN_CONSTANT)
        return parse_strings(parser);
    if (jinja_skip_operator(parser, "(")) {
        jinja_node *inner = parse_tuple(parser, TUPLE_CHOICES | TUPLE_PARENTHESES, NULL);
        jinja_expect_operator(parser, ")");
        return inner;
    }
    if (jinja_at_operator(parser, "["))
        return parse_display(parser, JINJA_NODE_LIST, "]");
    if (jinja_at_operator(parser, "{"))
        return parse_display(parser, JINJA_NODE_DICT, "}");
    jinja_fail_unexpected(parser, "an expression");
}

static jinja_node *parse_bound(jinja_parser *parser)
{
    if (jinja_at_operator(parser, ":") || jinja_at_operator(parser, "]") || jinja_at_operator(parser, ","))
        return NULL;
    return jinja_parse_expression(parser);
}

/* What stands between the brackets of x[...]. */
static jinja_node *parse_key(jinja_parser *parser)
{
    jinja_node *first = parse_bound(parser);
    if (!jinja_at_operator(parser, ":")) {
        if (!first)
            jinja_fail_unexpected(parser, "an index");
        return first;
    }
    jinja_node *slice = jinja_node_new(parser, JINJA_NODE_SLICE);
    parser->at++;
    slice->a = first;
    slice->b = parse_bound(parser);
    if (jinja_skip_operator(parser, ":"))
        slice->c = parse_bound(parser);
    return slice;
}

static jinja_node *parse_subscript(jinja_parser *parser, jinja_node *object)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_ELEMENT);
    node->a = object;
    if (jinja_skip_operator(parser, "[")) {
        node->b = parse_key(parser);
        jinja_expect_operator(parser, "]");
        return node;
    }
    jinja_expect_operator(parser, ".");
    if (parser->at->kind == JINJA_TOKEN_CONSTANT && parser->at->value.kind == JINJA_INT) {
        node->b = jinja_node_new(parser, JINJA_NODE_CONSTANT);
        node->b->value = (parser->at++)->value;
        return node;
    }
    node->kind = JINJA_NODE_ATTRIBUTE;
    node->name = jinja_expect_name(parser);
    return node;
}

static jinja_node *parse_argument(jinja_parser *parser, bool *keywords)
{
    jinja_node *argument = jinja_node_new(parser, JINJA_NODE_ARGUMENT);
    if (jinja_skip_operator(parser, "*")) {
        argument->op = '*';
    } else if (jinja_skip_operator(parser, "**")) {
        argument->op = 'p';
        *keywords = true;
    } else if (parser->at->kind == JINJA_TOKEN_NAME && parser->at[1].kind == JINJA_TOKEN_OPERATOR &&
               strcmp(parser->at[1].operator_text, "=") == 0) {
        argument->name = parser->at->value.as.string;
        parser->at += 2;
        *keywords = true;
    } else if (*keywords) {
        jinja_fail(parser->state, "a positional argument follows a keyword argument");
    }
    argument->a = jinja_parse_expression(parser);
    return argument;
}

/* "(...)": the arguments of a call, filter or test. */
static jinja_node *parse_arguments(jinja_parser *parser)
{
    jinja_node *first = NULL, **link = &first;
    bool keywords = false;
    jinja_expect_operator(parser, "(");
    while (!jinja_at_operator(parser, ")")) {
        if (first) {
            jinja_expect_operator(parser, ",");
            if (jinja_at_operator(parser, ")"))
                break;
        }
        *link = parse_argument(parser, &keywords);
        link = &(*link)->next;
    }
    parser->at++;
    return first;
}

static jinja_node *parse_call(jinja_parser *parser, jinja_node *callee)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_CALL);
    node->a = callee;
    node->args = parse_arguments(parser);
    return node;
}

static jinja_node *parse_postfix(jinja_parser *parser, jinja_node *node)
{
    for (;;) {
        if (jinja_at_operator(parser, ".") || jinja_at_operator(parser, "["))
            node = parse_subscript(parser, node);
        else if (jinja_at_operator(parser, "("))
            node = parse_call(parser, node);
        else
            return node;
    }
}

static jinja_node *named_node(jinja_parser *parser, jinja_node_kind kind, jinja_node *operand)
{
    jinja_node *node = jinja_node_new(parser, kind);
    node->a = operand;
    node->name = jinja_expect_name(parser);
    node->function = kind == JINJA_NODE_FILTER ? jinja_filter_find(node->name) : jinja_test_find(node->name);
    return node;
}

jinja_node *jinja_parse_filters(jinja_parser *parser, jinja_node *operand, bool first)
{
    while (first || jinja_skip_operator(parser, "|")) {
        first = false;
        operand = named_node(parser, JINJA_NODE_FILTER, operand);
        if (jinja_at_operator(parser, "("))
            operand->args = parse_arguments(parser);
    }
    return operand;
}

/* "is [not] name [argument]", past the "is". */
static jinja_node *parse_test(jinja_parser *parser, jinja_node *operand)
{
    bool negated = jinja_skip_word(parser, "not");
    jinja_node *node = named_node(parser, JINJA_NODE_TEST, operand);
    bool opens = jinja_at_operator(parser, "[") || jinja_at_operator(parser, "{");
    bool word = parser->at->kind == JINJA_TOKEN_NAME && !jinja_at_word(parser, "else") &&
                !jinja_at_word(parser, "or") && !jinja_at_word(parser, "and");
    if (jinja_at_operator(parser, "(")) {
        node->args = parse_arguments(parser);
    } else if (opens || word || parser->at->kind == JINJA_TOKEN_CONSTANT) {
        if (jinja_at_word(parser, "is"))
            jinja_fail(parser->state, "tests cannot be chained with 'is'");
        node->args = jinja_node_new(parser, JINJA_NODE_ARGUMENT);
        node->args->a = parse_postfix(parser, parse_primary(parser));
    }
    if (!negated)
        return node;
    jinja_node *not_node = jinja_node_new(parser, JINJA_NODE_NOT);
    not_node->a = node;
    return not_node;
}

static jinja_node *parse_unary(jinja_parser *parser, bool filters)
{
    jinja_node *node;
    jinja_depth_enter(parser->state);
    if (jinja_at_operator(parser, "-") || jinja_at_operator(parser, "+")) {
        node = jinja_node_new(parser, jinja_at_operator(parser, "-") ? JINJA_NODE_NEGATE : JINJA_NODE_PLUS);
        parser->at++;
        node->a = parse_unary(parser, false);
    } else {
        node = parse_primary(parser);
    }
    node = parse_postfix(parser, node);
    while (filters) {
        if (jinja_at_operator(parser, "|"))
            node = jinja_parse_filters(parser, node, false);
        else if (jinja_skip_word(parser, "is"))
            node = parse_test(parser, node);
        else if (jinja_at_operator(parser, "("))
            node = parse_call(parser, node);
        else
            break;
    }
    jinja_depth_leave(parser->state);
    return node;
}
