/* grammar.c: rules made deterministic one by one, joined, and rid of what leads nowhere.
 *
 * `need` is how many values must at least be opened within each other on the way to the end of a rule. A way is open
 * only as long as its need and the depth so far stay within the limit: so whatever has been written can be finished,
 * and a value that could only hold itself for ever has no way at all.
 */
#include "grammar/grammar.h"

#include "grammar/matcher.h"
#include "grammar/regex.h"
#include "grammar/schema.h"
#include "grammar/token_trie.h"

#include <string.h>

enum { NEED_ENDLESS = UINT16_MAX };

/* Rules under construction: those of a schema, or one. */
typedef struct linker {
    nfa *nfa;
    uint32_t rule_count;
    uint32_t *start; /* [rule_count] node */
    uint32_t node_capacity, edge_capacity, call_capacity;
    grammar *grammar;
} linker;

bool grammar_charge(grammar *grammar, atomic_ullong *account, uint64_t limit)
{
    if (atomic_fetch_add(account, grammar->bytes) + grammar->bytes > limit) {
        atomic_fetch_sub(account, grammar->bytes);
        return false;
    }
    grammar->account = account;
    return true;
}

void grammar_retain(grammar *grammar)
{
    atomic_fetch_add(&grammar->users, 1);
}

void grammar_release(grammar *grammar)
{
    if (!grammar || atomic_fetch_sub(&grammar->users, 1) > 1)
        return;
    if (grammar->account)
        atomic_fetch_sub(grammar->account, grammar->bytes);
    free(grammar->node);
    free(grammar->edge);
    free(grammar->call);
    free(grammar);
}

/* ---- joining ---- */

/* Appends a rule's states; its calls name rules until all are there. */
static void add_rule(linker *l, uint32_t rule, const dfa *dfa)
{
    grammar *g = l->grammar;
    nfa *nfa = l->nfa;
    uint32_t base = g->node_count;

    l->start[rule] = base;
    for (uint32_t i = 0; i < dfa->state_count; i++) {
        const dfa_state *state = &dfa->state[i];
        if (!nfa_grow(nfa, (void **)&g->node, g->node_count, &l->node_capacity, sizeof *g->node, GRAMMAR_STATES_MAX,
                      "states"))
            return;
        g->node[g->node_count++] = (grammar_node){.edge = g->edge_count,
                                                  .call = g->call_count,
                                                  .edge_count = (uint16_t)state->edge_count,
                                                  .call_count = (uint16_t)state->call_count,
                                                  .need = state->accepts ? 0 : NEED_ENDLESS,
                                                  .accepts = state->accepts};
        for (uint32_t k = 0; k < state->edge_count; k++) {
            const dfa_edge *edge = &dfa->edge[state->edge + k];
            if (!nfa_grow(nfa, (void **)&g->edge, g->edge_count, &l->edge_capacity, sizeof *g->edge,
                          8 * GRAMMAR_STATES_MAX, "edges"))
                return;
            g->edge[g->edge_count++] = (grammar_edge){edge->lo, edge->hi, base + edge->target};
        }
        for (uint32_t k = 0; k < state->call_count; k++) {
            const dfa_call *call = &dfa->call[state->call + k];
            if (!nfa_grow(nfa, (void **)&g->call, g->call_count, &l->call_capacity, sizeof *g->call, GRAMMAR_STATES_MAX,
                          "calls"))
                return;
            g->call[g->call_count++] = (grammar_call){call->rule, base + call->target};
        }
    }
}

static void link_calls(const linker *l)
{
    grammar *g = l->grammar;
    for (uint32_t i = 0; i < g->call_count; i++) {
        const grammar_node *back = &g->node[g->call[i].back];
        g->call[i].start = l->start[g->call[i].start];
        if (back->accepts && back->edge_count == 0 && back->call_count == 0)
            g->call[i].back = GRAMMAR_TAIL;
    }
}

static uint32_t call_need(const grammar *g, const grammar_call *call)
{
    uint32_t inside = g->node[call->start].need, after = call->back == GRAMMAR_TAIL ? 0 : g->node[call->back].need;
    if (inside == NEED_ENDLESS || after == NEED_ENDLESS)
        return NEED_ENDLESS;
    inside += call->back != GRAMMAR_TAIL;
    return inside > after ? inside : after;
}

/* The least need of each node. Backwards over the array, since states were numbered forwards: few rounds. */
static void measure_needs(const linker *l)
{
    grammar *g = l->grammar;
    for (bool changed = true; changed && nfa_spend(l->nfa, g->edge_count + g->node_count);) {
        changed = false;
        for (uint32_t i = g->node_count; i-- > 0;) {
            grammar_node *node = &g->node[i];
            uint32_t need = node->need;
            for (uint32_t k = 0; k < node->edge_count; k++) {
                uint32_t way = g->node[g->edge[node->edge + k].target].need;
                need = way < need ? way : need;
            }
            for (uint32_t k = 0; k < node->call_count; k++) {
                uint32_t way = call_need(g, &g->call[node->call + k]);
                need = way < need ? way : need;
            }
            changed |= need < node->need;
            node->need = (uint16_t)need;
        }
    }
}

/* Takes out what leads nowhere. */
static void prune(grammar *g)
{
    for (uint32_t i = 0; i < g->node_count; i++) {
        grammar_node *node = &g->node[i];
        uint16_t edges = 0, calls = 0;
        for (uint32_t k = 0; k < node->edge_count; k++)
            if (g->node[g->edge[node->edge + k].target].need != NEED_ENDLESS)
                g->edge[node->edge + edges++] = g->edge[node->edge + k];
        for (uint32_t k = 0; k < node->call_count; k++)
            if (call_need(g, &g->call[node->call + k]) != NEED_ENDLESS)
                g->call[node->call + calls++] = g->call[node->call + k];
        node->edge_count = edges;
        node->call_count = calls;
    }
}

/* The node to which every plain byte leads; the number of nodes: there is none such. */
static uint32_t plain_target(const grammar *g, const grammar_node *node)
{
    uint32_t target = g->node_count, at = 0;

    if (node->call_count > 0)
        return g->node_count;
    for (uint32_t byte = ' '; byte < 0x7f; byte++) {
        if (!token_byte_is_plain((uint8_t)byte))
            continue;
        while (at < node->edge_count && g->edge[node->edge + at].hi < byte)
            at++;
        if (at == node->edge_count || g->edge[node->edge + at].lo > byte)
            return g->node_count;
        uint32_t to = g->edge[node->edge + at].target;
        if (target != g->node_count && to != target)
            return g->node_count;
        target = to;
    }
    return target;
}

/* In a string of any characters most of a vocabulary may come next, and need not be walked: not even where characters
 * are counted, and so no two places are the same. A node's run is one more than that of the node behind its byte.
 * States were numbered forwards: backwards over the array finds nearly all, and one found too short only costs time. */
static void find_runs(grammar *g)
{
    for (uint32_t i = g->node_count; i-- > 0;) {
        grammar_node *node = &g->node[i];
        uint32_t target = plain_target(g, node);
        if (target == g->node_count || g->node[target].need != node->need)
            continue;
        uint32_t behind = target == i ? GRAMMAR_RUN_MAX : g->node[target].run;
        node->run = (uint8_t)(behind < GRAMMAR_RUN_MAX ? behind + 1 : GRAMMAR_RUN_MAX);
    }
}

/* A walk holds so many ways to read a text and no more: where more begin at once, nothing could come next. */
static void check_calls(const linker *l)
{
    const grammar *g = l->grammar;
    for (uint32_t i = 0; i < g->node_count; i++)
        if (g->node[i].call_count > GRAMMAR_THREADS_MAX)
            nfa_fail(l->nfa, TN_E_ARGUMENT,
                     "the grammar is too complex: %u kinds of object or array may begin in one place, and only what is "
                     "in them tells which it is; %d are allowed",
                     g->node[i].call_count, GRAMMAR_THREADS_MAX);
}

/* An answer ends with the token behind which nothing may follow: one without any could not end. */
static void check_start(const linker *l)
{
    const grammar_node *start = &l->grammar->node[l->grammar->start];
    if (start->edge_count == 0 && start->call_count == 0)
        nfa_fail(l->nfa, TN_E_ARGUMENT, "the grammar allows no text but the empty one");
}

static void join(linker *l)
{
    grammar *g = l->grammar;

    link_calls(l);
    measure_needs(l);
    if (l->nfa->status != TN_OK)
        return;
    g->start = l->start[0];
    if (g->node[g->start].need == NEED_ENDLESS)
        nfa_fail(l->nfa, TN_E_ARGUMENT, "the grammar allows no text at all: its rules contradict each other");
    else if (g->node[g->start].need >= GRAMMAR_DEPTH_MAX)
        nfa_fail(l->nfa, TN_E_ARGUMENT, "the grammar needs values nested deeper than %d levels", GRAMMAR_DEPTH_MAX);
    if (l->nfa->status != TN_OK)
        return;
    prune(g);
    check_start(l);
    check_calls(l);
    find_runs(g);
}

/* ---- kinds ---- */

static void add_single_rule(linker *l, uint32_t start, uint32_t end)
{
    dfa dfa;

    l->rule_count = 1;
    l->start = calloc(1, sizeof *l->start);
    if (!l->start)
        nfa_fail(l->nfa, TN_E_MEMORY, "out of memory for a grammar");
    dfa_build(l->nfa, start, end, &dfa);
    if (l->nfa->status == TN_OK)
        add_rule(l, 0, &dfa);
    dfa_finish(&dfa);
}

static void add_schema(linker *l, const json_t *root, bool strict)
{
    schema_compiler c = {.nfa = l->nfa, .root = root, .strict = strict};

    schema_compile(&c);
    l->start = l->nfa->status == TN_OK ? calloc(c.rule_count, sizeof *l->start) : NULL;
    if (!l->start)
        nfa_fail(l->nfa, TN_E_MEMORY, "out of memory for a grammar");
    l->rule_count = c.rule_count;
    for (uint32_t i = 0; i < c.rule_count && l->nfa->status == TN_OK; i++) {
        dfa dfa;
        dfa_build(l->nfa, c.rule[i].start, c.rule[i].end, &dfa);
        if (l->nfa->status == TN_OK)
            add_rule(l, i, &dfa);
        dfa_finish(&dfa);
    }
    free(c.rule);
    json_decref(c.tags);
}

static json_t *load(nfa *nfa, const char *what, const char *text, size_t n)
{
    json_error_t fault;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &fault);

    if (!root && json_error_code(&fault) == json_error_out_of_memory)
        nfa_fail(nfa, TN_E_MEMORY, "out of memory for a schema");
    else if (!root)
        nfa_fail(nfa, TN_E_ARGUMENT, "%s is not JSON: %.150s", what, fault.text);
    return root;
}

static void compile_schema(linker *l, const char *text, size_t n, bool strict)
{
    json_t *root = load(l->nfa, "json_schema", text, n);

    if (root && !json_is_object(root) && !json_is_boolean(root))
        nfa_fail(l->nfa, TN_E_ARGUMENT, "json_schema: a schema must be an object");
    if (l->nfa->status == TN_OK)
        add_schema(l, root, strict);
    json_decref(root);
}

static void compile_choice(linker *l, const char *text, size_t n)
{
    json_t *list = load(l->nfa, "choice", text, n), *item;
    uint32_t start = nfa_node(l->nfa), end = nfa_node(l->nfa);
    size_t i;

    if (list && (json_array_size(list) == 0 || json_array_size(list) > GRAMMAR_CHOICES_MAX))
        nfa_fail(l->nfa, TN_E_ARGUMENT, "choice: must be a list of 1 to %d texts", GRAMMAR_CHOICES_MAX);
    json_array_foreach(list, i, item)
    {
        if (json_string_length(item) == 0)
            nfa_fail(l->nfa, TN_E_ARGUMENT, "choice: number %zu is no text, or empty", i);
        else
            nfa_empty(l->nfa,
                      text_literal(l->nfa, TEXT_PLAIN, start, json_string_value(item), json_string_length(item)), end);
    }
    add_single_rule(l, start, end);
    json_decref(list);
}

static void compile_kind(linker *l, uint32_t kind, const char *text, size_t n)
{
    static const char any_object[] = "{\"type\":\"object\"}";
    uint32_t start;

    switch (kind) {
    case TN_GRAMMAR_JSON_SCHEMA:
    case TN_GRAMMAR_JSON_SCHEMA_STRICT:
        compile_schema(l, text, n, kind == TN_GRAMMAR_JSON_SCHEMA_STRICT);
        break;
    case TN_GRAMMAR_JSON_OBJECT:
        compile_schema(l, any_object, sizeof any_object - 1, false);
        break;
    case TN_GRAMMAR_REGEX:
        start = nfa_node(l->nfa);
        add_single_rule(l, start, regex_add(l->nfa, TEXT_PLAIN, start, text, n, false, "regex"));
        break;
    case TN_GRAMMAR_CHOICE:
        compile_choice(l, text, n);
        break;
    default:
        nfa_fail(l->nfa, TN_E_ARGUMENT, "grammar_kind is %u, which is unknown", kind);
    }
}

static void *trim_array(nfa *nfa, void *array, uint32_t count, size_t size)
{
    void *exact = count > 0 ? realloc(array, count * size) : array;
    if (exact || count == 0)
        return exact;
    nfa_fail(nfa, TN_E_MEMORY, "out of memory for a grammar");
    return array;
}

/* Gives back what the arrays have grown beyond need. */
static void trim(const linker *l)
{
    grammar *g = l->grammar;

    g->node = trim_array(l->nfa, g->node, g->node_count, sizeof *g->node);
    g->edge = trim_array(l->nfa, g->edge, g->edge_count, sizeof *g->edge);
    g->call = trim_array(l->nfa, g->call, g->call_count, sizeof *g->call);
    g->bytes =
        sizeof *g + g->node_count * sizeof *g->node + g->edge_count * sizeof *g->edge + g->call_count * sizeof *g->call;
}

tn_status grammar_compile(uint32_t kind, const char *text, uint64_t bytes, grammar **ret_grammar, tn_error *err)
{
    static atomic_ullong next_id = 1;
    nfa nfa;

    if (bytes > GRAMMAR_TEXT_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "the schema has %llu bytes; %d are allowed", (unsigned long long)bytes,
                       GRAMMAR_TEXT_MAX);
    nfa_init(&nfa, err);
    linker l = {.nfa = &nfa, .grammar = calloc(1, sizeof *l.grammar)};
    if (!l.grammar)
        nfa_fail(&nfa, TN_E_MEMORY, "out of memory for a grammar");
    else
        atomic_store(&l.grammar->users, 1);
    if (nfa.status == TN_OK)
        compile_kind(&l, kind, text, (size_t)bytes);
    if (nfa.status == TN_OK)
        join(&l);
    if (nfa.status == TN_OK)
        trim(&l);
    free(l.start);
    nfa_finish(&nfa);
    if (nfa.status != TN_OK) {
        grammar_release(l.grammar);
        return nfa.status;
    }
    l.grammar->id = atomic_fetch_add(&next_id, 1);
    *ret_grammar = l.grammar;
    return TN_OK;
}
