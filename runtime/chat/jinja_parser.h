/* runtime/chat/jinja_parser.h: what the parsers of statements and of expressions share. */
#ifndef CHAT_JINJA_PARSER_H
#define CHAT_JINJA_PARSER_H

#include "jinja_ast.h"

typedef struct jinja_parser {
    jinja_state *state;
    const jinja_token *at;
    uint32_t loop_depth;   /* loops around the current statement, within the macro */
    uint8_t uses;          /* JINJA_USES_* seen in the current macro */
    const char *innermost; /* tag that is open, for messages */
    uint32_t innermost_line;
} jinja_parser;

/* Tokens. "text" is an operator ("==") or a word ("in"). */
bool jinja_at_operator(const jinja_parser *parser, const char *text);
bool jinja_at_word(const jinja_parser *parser, const char *text);
bool jinja_skip_operator(jinja_parser *parser, const char *text);
bool jinja_skip_word(jinja_parser *parser, const char *text);
void jinja_expect_operator(jinja_parser *parser, const char *text);
const jinja_string *jinja_expect_name(jinja_parser *parser);
_Noreturn void jinja_fail_unexpected(jinja_parser *parser, const char *wanted);

jinja_node *jinja_node_new(jinja_parser *parser, jinja_node_kind kind);

jinja_node *jinja_parse_expression(jinja_parser *parser);
/* An expression, or several divided by commas, which make a tuple. choices: "a if b else c" may stand there; end: a
 * word that ends the tuple, or NULL. */
jinja_node *jinja_parse_tuple(jinja_parser *parser, bool choices, const char *end);
/* A name or a tuple of targets; members: "ns.x" too. */
jinja_node *jinja_parse_target(jinja_parser *parser, bool members, const char *end);
/* "a | b(c)" after its operand; NULL operand: what the block's text will take the place of. first: begin with a filter
 * instead of "|". */
jinja_node *jinja_parse_filters(jinja_parser *parser, jinja_node *operand, bool first);

#endif
