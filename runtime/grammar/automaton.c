/* automaton.c: the builder, and arrays that grow by doubling up to their limit. */
#include "grammar/automaton.h"

#include <stdarg.h>
#include <string.h>

void nfa_init(nfa *nfa, tn_error *err)
{
    *nfa = (struct nfa){.err = err, .edge_count = 1};
    nfa_node(nfa); /* where everything leads that could not be made */
}

void nfa_finish(nfa *nfa)
{
    free(nfa->first);
    free(nfa->edge);
    nfa->first = NULL;
    nfa->edge = NULL;
}

void nfa_fail(nfa *nfa, tn_status status, const char *format, ...)
{
    va_list args;

    if (nfa->status != TN_OK)
        return;
    nfa->status = status;
    if (!nfa->err)
        return;
    va_start(args, format);
    vsnprintf(nfa->err->msg, sizeof nfa->err->msg, format, args);
    va_end(args);
}

bool nfa_spend(nfa *nfa, uint64_t work)
{
    nfa->work += work;
    if (nfa->work > GRAMMAR_WORK_MAX)
        nfa_fail(nfa, TN_E_ARGUMENT, "the grammar is too complex: compiling it takes more than the %d steps allowed",
                 GRAMMAR_WORK_MAX);
    return nfa->status == TN_OK;
}

bool nfa_grow(nfa *nfa, void **array, uint32_t count, uint32_t *capacity, size_t size, uint32_t most, const char *what)
{
    if (nfa->status != TN_OK)
        return false;
    if (count < *capacity)
        return true;
    if (count >= most) {
        nfa_fail(nfa, TN_E_ARGUMENT, "the grammar is too large: it takes more than %u %s", most, what);
        return false;
    }
    uint32_t wanted = *capacity > 0 ? *capacity * 2 : 64;
    void *grown = realloc(*array, wanted * size);
    if (!grown) {
        nfa_fail(nfa, TN_E_MEMORY, "out of memory for %u %s of a grammar", wanted, what);
        return false;
    }
    *array = grown;
    *capacity = wanted;
    return true;
}

uint32_t nfa_node(nfa *nfa)
{
    if (!nfa_grow(nfa, (void **)&nfa->first, nfa->node_count, &nfa->node_capacity, sizeof *nfa->first,
                  GRAMMAR_NODES_MAX, "nodes"))
        return 0;
    nfa->first[nfa->node_count] = 0;
    return nfa->node_count++;
}

static void add_edge(nfa *nfa, uint32_t from, nfa_edge edge)
{
    if (!nfa_grow(nfa, (void **)&nfa->edge, nfa->edge_count, &nfa->edge_capacity, sizeof *nfa->edge,
                  4 * GRAMMAR_NODES_MAX, "edges"))
        return;
    edge.next = nfa->first[from];
    nfa->edge[nfa->edge_count] = edge;
    nfa->first[from] = nfa->edge_count++;
}

void nfa_bytes(nfa *nfa, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to)
{
    add_edge(nfa, from, (nfa_edge){.symbol = NFA_BYTES, .lo = (uint8_t)lo, .hi = (uint8_t)hi, .target = to});
}

void nfa_empty(nfa *nfa, uint32_t from, uint32_t to)
{
    add_edge(nfa, from, (nfa_edge){.symbol = NFA_EMPTY, .target = to});
}

void nfa_call(nfa *nfa, uint32_t from, uint32_t rule, uint32_t to)
{
    add_edge(nfa, from, (nfa_edge){.symbol = rule, .target = to});
}

uint32_t nfa_text(nfa *nfa, uint32_t from, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t next = nfa_node(nfa);
        nfa_bytes(nfa, from, (uint8_t)bytes[i], (uint8_t)bytes[i], next);
        from = next;
    }
    return from;
}

uint32_t nfa_add_dfa(nfa *nfa, uint32_t from, const dfa *dfa)
{
    uint32_t end = nfa_node(nfa), base = nfa->node_count;

    for (uint32_t i = 0; i < dfa->state_count; i++)
        nfa_node(nfa);
    if (dfa->state_count == 0 || nfa->status != TN_OK)
        return end;
    nfa_empty(nfa, from, base);
    for (uint32_t i = 0; i < dfa->state_count; i++) {
        const dfa_state *state = &dfa->state[i];
        if (state->accepts)
            nfa_empty(nfa, base + i, end);
        for (uint32_t k = 0; k < state->edge_count; k++) {
            const dfa_edge *edge = &dfa->edge[state->edge + k];
            nfa_bytes(nfa, base + i, edge->lo, edge->hi, base + edge->target);
        }
    }
    return end;
}

void dfa_finish(dfa *dfa)
{
    free(dfa->state);
    free(dfa->edge);
    free(dfa->call);
    *dfa = (struct dfa){0};
}
