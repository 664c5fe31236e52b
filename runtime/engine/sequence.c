/* sequence.c: plain arrays in the request's memory; the list of seen tokens is kept sorted by insertion. */
#include "engine/sequence.h"

#include "engine/request.h"

#include <string.h>

bool sequence_before(const sequence *a, const sequence *b)
{
    if (a->request->priority != b->request->priority)
        return a->request->priority < b->request->priority;
    if (a->request->id != b->request->id)
        return a->request->id < b->request->id;
    return a->choice < b->choice;
}

uint32_t sequence_target(const sequence *sequence)
{
    const request *request = sequence->request;
    if (request->max_new == 0)
        return request->prompt_count - 1;
    return request->prompt_count + sequence->generated + sequence->pending;
}

int32_t sequence_token(const sequence *sequence, uint32_t position)
{
    const request *request = sequence->request;
    if (position < request->prompt_count)
        return request->prompt[position];
    TN_ASSERT(position - request->prompt_count < sequence->generated);
    return sequence->output[position - request->prompt_count];
}

/* Counts an output token in the sorted list of distinct ones. */
static void note_seen(sequence *sequence, int32_t token)
{
    uint32_t at = 0, end = sequence->seen_count;
    while (at < end) {
        uint32_t middle = at + (end - at) / 2;
        if (sequence->seen[middle] < token)
            at = middle + 1;
        else
            end = middle;
    }
    if (at < sequence->seen_count && sequence->seen[at] == token) {
        sequence->seen_times[at]++;
        return;
    }
    uint32_t behind = sequence->seen_count - at;
    memmove(sequence->seen + at + 1, sequence->seen + at, behind * sizeof *sequence->seen);
    memmove(sequence->seen_times + at + 1, sequence->seen_times + at, behind * sizeof *sequence->seen_times);
    sequence->seen[at] = token;
    sequence->seen_times[at] = 1;
    sequence->seen_count++;
}

void sequence_append(sequence *sequence, int32_t token)
{
    TN_ASSERT(sequence->generated < sequence->request->max_new);
    sequence->output[sequence->generated++] = token;
    if (sequence->request->penalised)
        note_seen(sequence, token);
}

hash128 sequence_block_hash(sequence *sequence, const prefix_cache *cache, uint32_t block)
{
    while (sequence->hashed <= block) {
        uint32_t next = sequence->hashed;
        int32_t token[PREFIX_BLOCK_TOKENS_MAX];
        for (uint32_t i = 0; i < cache->block_tokens; i++)
            token[i] = sequence_token(sequence, next * cache->block_tokens + i);
        hash128 before = next > 0 ? sequence->block_hash[next - 1] : sequence->request->root;
        sequence->block_hash[next] = prefix_cache_chain(cache, before, token);
        sequence->hashed++;
    }
    return sequence->block_hash[block];
}
