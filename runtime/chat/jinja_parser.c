/* runtime/chat/jinja_parser.c: statements, by recursive descent over the tokens.
 *
 * Every nested construct passes jinja_depth_enter, so hostile nesting ends in an error and not in the C stack.
 * Templates that load other templates (extends, include, import) are refused: a chat template stands alone.
 */
#include "jinja_parser.h"

#include <string.h>

bool jinja_at_operator(const jinja_parser *parser, const char *text)
{
    return parser->at->kind == JINJA_TOKEN_OPERATOR && strcmp(parser->at->operator_text, text) == 0;
}

bool jinja_at_word(const jinja_parser *parser, const char *text)
{
    return parser->at->kind == JINJA_TOKEN_NAME && jinja_string_is(parser->at->value.as.string, text);
}

bool jinja_skip_operator(jinja_parser *parser, const char *text)
{
    bool here = jinja_at_operator(parser, text);
    parser->at += here;
    return here;
}

bool jinja_skip_word(jinja_parser *parser, const char *text)
{
    bool here = jinja_at_word(parser, text);
    parser->at += here;
    return here;
}

_Noreturn void jinja_fail_unexpected(jinja_parser *parser, const char *wanted)
{
    const jinja_token *token = parser->at;
    parser->state->line = token->line;
    switch (token->kind) {
    case JINJA_TOKEN_NAME:
        jinja_fail(parser->state, "expected %s, got '%.*s'", wanted,
                   (int)(token->value.as.string->count < 60 ? token->value.as.string->count : 60),
                   token->value.as.string->bytes);
    case JINJA_TOKEN_OPERATOR:
        jinja_fail(parser->state, "expected %s, got '%s'", wanted, token->operator_text);
    case JINJA_TOKEN_CONSTANT:
        jinja_fail(parser->state, "expected %s, got a %s", wanted, jinja_type_name(token->value));
    case JINJA_TOKEN_END:
        jinja_fail(parser->state, "expected %s, got the end of the template", wanted);
    default:
        jinja_fail(parser->state, "expected %s, got the end of the tag", wanted);
    }
}

void jinja_expect_operator(jinja_parser *parser, const char *text)
{
    char wanted[8];
    snprintf(wanted, sizeof wanted, "'%s'", text);
    if (!jinja_skip_operator(parser, text))
        jinja_fail_unexpected(parser, wanted);
}

const jinja_string *jinja_expect_name(jinja_parser *parser)
{
    if (parser->at->kind != JINJA_TOKEN_NAME)
        jinja_fail_unexpected(parser, "a name");
    return (parser->at++)->value.as.string;
}

jinja_node *jinja_node_new(jinja_parser *parser, jinja_node_kind kind)
{
    jinja_node *node = JINJA_NEW(parser->state, jinja_node);
    node->kind = kind;
    node->line = parser->state->line = parser->at->line;
    return node;
}

static jinja_node *parse_body(jinja_parser *parser, const char *const *ends);

static void expect_block_end(jinja_parser *parser)
{
    if (parser->at->kind != JINJA_TOKEN_BLOCK_END)
        jinja_fail_unexpected(parser, "'%}'");
    parser->at++;
}

/* The statements up to a tag whose word is one of ends (NULL-terminated), which becomes the current token. */
static jinja_node *parse_until(jinja_parser *parser, const char *tag, uint32_t line, const char *const *ends)
{
    const char *outer = parser->innermost;
    uint32_t outer_line = parser->innermost_line;
    parser->innermost = tag;
    parser->innermost_line = line;
    jinja_skip_operator(parser, ":");
    expect_block_end(parser);
    jinja_node *body = parse_body(parser, ends);
    parser->innermost = outer;
    parser->innermost_line = outer_line;
    return body;
}

/* The same with one end, which is stepped over. */
static jinja_node *parse_to_end(jinja_parser *parser, const char *tag, uint32_t line, const char *end)
{
    const char *const ends[] = {end, NULL};
    jinja_node *body = parse_until(parser, tag, line, ends);
    parser->at++;
    return body;
}

/* A block whose text is captured: a loop around it cannot be left from within. */
static jinja_node *parse_captured(jinja_parser *parser, const char *tag, uint32_t line, const char *end)
{
    uint32_t loops = parser->loop_depth;
    parser->loop_depth = 0;
    jinja_node *body = parse_to_end(parser, tag, line, end);
    parser->loop_depth = loops;
    return body;
}

/* At the word after "if" or "elif". */
static jinja_node *parse_if(jinja_parser *parser)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    jinja_node *first = NULL, **link = &first;
    for (;;) {
        jinja_node *node = jinja_node_new(parser, JINJA_NODE_IF);
        *link = node;
        node->a = jinja_parse_tuple(parser, false, NULL);
        node->body = parse_until(parser, "if", node->line, ends);
        link = &node->otherwise;
        if (jinja_skip_word(parser, "elif"))
            continue;
        if (jinja_skip_word(parser, "else"))
            *link = parse_to_end(parser, "if", node->line, "endif");
        else
            parser->at++;
        return first;
    }
}

static jinja_node *parse_for(jinja_parser *parser)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_FOR);
    node->a = jinja_parse_target(parser, false, "in");
    if (!jinja_skip_word(parser, "in"))
        jinja_fail_unexpected(parser, "'in'");
    node->b = jinja_parse_tuple(parser, false, "recursive");
    if (jinja_skip_word(parser, "if"))
        node->c = jinja_parse_expression(parser);
    node->flag = jinja_skip_word(parser, "recursive");
    parser->loop_depth++;
    node->body = parse_until(parser, "for", node->line, ends);
    parser->loop_depth--;
    if (jinja_skip_word(parser, "else"))
        node->otherwise = parse_to_end(parser, "for", node->line, "endfor");
    else
        parser->at++;
    return node;
}

static jinja_node *parse_set(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_SET);
    node->a = jinja_parse_target(parser, true, NULL);
    if (jinja_skip_operator(parser, "=")) {
        node->b = jinja_parse_tuple(parser, true, NULL);
        return node;
    }
    node->kind = JINJA_NODE_SET_BLOCK;
    if (jinja_at_operator(parser, "|"))
        node->b = jinja_parse_filters(parser, NULL, false);
    node->body = parse_captured(parser, "set", node->line, "endset");
    return node;
}

static jinja_node *parse_parameters(jinja_parser *parser)
{
    jinja_node *first = NULL, **link = &first;
    bool defaults = false;
    jinja_expect_operator(parser, "(");
    while (!jinja_at_operator(parser, ")")) {
        if (first)
            jinja_expect_operator(parser, ",");
        jinja_node *parameter = jinja_node_new(parser, JINJA_NODE_PARAMETER);
        parameter->name = jinja_expect_name(parser);
        if (jinja_skip_operator(parser, "=")) {
            parameter->a = jinja_parse_expression(parser);
            defaults = true;
        } else if (defaults) {
            jinja_fail(parser->state, "a parameter without a default follows one with a default");
        }
        *link = parameter;
        link = &parameter->next;
    }
    parser->at++;
    return first;
}

/* The body of a macro or call block, where loops start afresh and the special names are watched for. */
static void parse_macro_body(jinja_parser *parser, jinja_node *node, const char *tag, const char *end)
{
    uint8_t uses = parser->uses;
    parser->uses = 0;
    node->body = parse_captured(parser, tag, node->line, end);
    node->uses = parser->uses;
    parser->uses = uses | (node->uses & JINJA_USES_CALLER);
}

static jinja_node *parse_macro(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_MACRO);
    node->name = jinja_expect_name(parser);
    node->args = parse_parameters(parser);
    parse_macro_body(parser, node, "macro", "endmacro");
    return node;
}

static jinja_node *parse_call_block(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_CALL_BLOCK);
    if (jinja_at_operator(parser, "("))
        node->args = parse_parameters(parser);
    node->a = jinja_parse_expression(parser);
    if (node->a->kind != JINJA_NODE_CALL)
        jinja_fail(parser->state, "'call' needs the call of a macro");
    parse_macro_body(parser, node, "call", "endcall");
    return node;
}

static jinja_node *parse_filter_block(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_FILTER_BLOCK);
    node->b = jinja_parse_filters(parser, NULL, true);
    node->body = parse_captured(parser, "filter", node->line, "endfilter");
    return node;
}

static jinja_node *parse_with(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_WITH);
    jinja_node **link = &node->args;
    while (parser->at->kind != JINJA_TOKEN_BLOCK_END) {
        if (node->args)
            jinja_expect_operator(parser, ",");
        jinja_node *item = jinja_node_new(parser, JINJA_NODE_WITH_ITEM);
        item->a = jinja_parse_target(parser, false, NULL);
        jinja_expect_operator(parser, "=");
        item->b = jinja_parse_expression(parser);
        *link = item;
        link = &item->next;
    }
    node->body = parse_to_end(parser, "with", node->line, "endwith");
    return node;
}

static jinja_node *parse_generation(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_SCOPE);
    parse_macro_body(parser, node, "generation", "endgeneration");
    return node;
}

static jinja_node *parse_block(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_SCOPE);
    node->name = jinja_expect_name(parser);
    jinja_skip_word(parser, "scoped");
    parse_macro_body(parser, node, "block", "endblock");
    if (parser->at->kind == JINJA_TOKEN_NAME && jinja_string_equal(parser->at->value.as.string, node->name))
        parser->at++;
    return node;
}

static jinja_node *parse_print(jinja_parser *parser)
{
    jinja_node *first = NULL, **link = &first;
    while (parser->at->kind != JINJA_TOKEN_BLOCK_END) {
        if (first)
            jinja_expect_operator(parser, ",");
        jinja_node *node = jinja_node_new(parser, JINJA_NODE_PRINT);
        node->a = jinja_parse_expression(parser);
        *link = node;
        link = &node->next;
    }
    return first;
}

static jinja_node *parse_jump(jinja_parser *parser, jinja_node_kind kind)
{
    if (parser->loop_depth == 0)
        jinja_fail(parser->state, "'%s' outside of a loop", kind == JINJA_NODE_BREAK ? "break" : "continue");
    return jinja_node_new(parser, kind);
}

static _Noreturn void fail_unknown_tag(jinja_parser *parser)
{
    static const char *const loading[] = {"extends", "include", "import", "from", "autoescape"};
    const jinja_string *name = parser->at->value.as.string;
    for (size_t i = 0; i < sizeof loading / sizeof *loading; i++)
        if (jinja_string_is(name, loading[i]))
            jinja_fail(parser->state, "the tag '%s' is not available in chat templates", loading[i]);
    int n = (int)(name->count < 60 ? name->count : 60);
    if (parser->innermost)
        jinja_fail(parser->state, "unknown tag '%.*s'; the innermost open tag is '%s' of line %u", n, name->bytes,
                   parser->innermost, parser->innermost_line);
    jinja_fail(parser->state, "unknown tag '%.*s'", n, name->bytes);
}

/* At the tag's word. May give several nodes, or none. */
static jinja_node *parse_tag(jinja_parser *parser)
{
    static const struct {
        const char *word;
        jinja_node *(*parse)(jinja_parser *parser);
    } tags[] = {
        {"if", parse_if},           {"for", parse_for},
        {"set", parse_set},         {"macro", parse_macro},
        {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},       {"generation", parse_generation},
        {"block", parse_block},     {"print", parse_print},
    };
    if (parser->at->kind != JINJA_TOKEN_NAME)
        jinja_fail_unexpected(parser, "the name of a tag");
    parser->state->line = parser->at->line;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (jinja_skip_word(parser, tags[i].word))
            return tags[i].parse(parser);
    if (jinja_skip_word(parser, "break"))
        return parse_jump(parser, JINJA_NODE_BREAK);
    if (jinja_skip_word(parser, "continue"))
        return parse_jump(parser, JINJA_NODE_CONTINUE);
    fail_unknown_tag(parser);
}

static bool at_any_word(const jinja_parser *parser, const char *const *words)
{
    for (; words && *words; words++)
        if (jinja_at_word(parser, *words))
            return true;
    return false;
}

static jinja_node *parse_printed(jinja_parser *parser)
{
    jinja_node *node = jinja_node_new(parser, JINJA_NODE_PRINT);
    node->a = jinja_parse_tuple(parser, true, NULL);
    if (parser->at->kind != JINJA_TOKEN_PRINT_END)
        jinja_fail_unexpected(parser, "'}}'");
    parser->at++;
    return node;
}

/* ends: NULL at the top. */
static jinja_node *parse_body(jinja_parser *parser, const char *const *ends)
{
    jinja_node *first = NULL, **link = &first;
    jinja_depth_enter(parser->state);
    for (;;) {
        const jinja_token *token = parser->at++;
        parser->state->line = token->line;
        if (token->kind == JINJA_TOKEN_DATA) {
            *link = jinja_node_new(parser, JINJA_NODE_DATA);
            (*link)->value = token->value;
            (*link)->line = token->line;
        } else if (token->kind == JINJA_TOKEN_PRINT_BEGIN) {
            *link = parse_printed(parser);
        } else if (token->kind == JINJA_TOKEN_BLOCK_BEGIN) {
            if (at_any_word(parser, ends))
                break;
            *link = parse_tag(parser);
            expect_block_end(parser);
        } else {
            TN_ASSERT(token->kind == JINJA_TOKEN_END);
            if (ends)
                jinja_fail(parser->state, "the template ends within '%s' of line %u", parser->innermost,
                           parser->innermost_line);
            break;
        }
        while (*link)
            link = &(*link)->next;
    }
    jinja_depth_leave(parser->state);
    return first;
}

jinja_node *jinja_parse(jinja_state *state, const char *text, uint64_t count)
{
    jinja_tokens tokens;
    jinja_lex(state, text, count, &tokens);
    jinja_parser parser = {.state = state, .at = tokens.items};
    jinja_node *body = parse_body(&parser, NULL);
    state->line = 0;
    return body;
}
