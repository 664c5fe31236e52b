/* tests/reference/decode_batch.c: see decode_batch.h. */
#include "decode_batch.h"
#include "family_case.h"
#include "unit/cmocka_test.h"

void decode_batch_fill(const model_rig *rig, uint32_t rows, uint32_t length[RIG_SLOTS_MAX], decode_batch *d)
{
    *d = (decode_batch){.rows = rows};
    d->batch = (tn_batch){.struct_size = sizeof d->batch,
                          .token_count = rows,
                          .seq_count = rows,
                          .out_count = rows,
                          .axis_count = 1,
                          .token = d->token,
                          .position = d->position,
                          .seq_start = d->seq_start,
                          .slot = d->slot,
                          .cached_len = d->cached_len,
                          .delta_group = d->group,
                          .delta_slot = d->changed,
                          .delta_index = d->index,
                          .delta_page = d->page,
                          .out_row = d->out_row,
                          .out_want = d->want};
    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t position = length[i]++;
        d->token[i] = (int32_t)((position * 5 + i) % FAMILY_VOCAB);
        d->position[i] = (int32_t)position;
        d->seq_start[i + 1] = i + 1;
        d->slot[i] = d->out_row[i] = i;
        d->cached_len[i] = position;
        for (uint32_t g = 0; g < rig->api->kv_group_count; g++) {
            uint32_t at = d->batch.delta_count++, index = position / rig->page_tokens[g];
            d->group[at] = g;
            d->changed[at] = i;
            d->index[at] = index;
            d->page[at] = (uint32_t)((i + index * RIG_SLOTS_MAX) % rig->pages);
        }
    }
}

uint64_t decode_batch_submit(const model_rig *rig, const tn_batch *batch)
{
    uint64_t ticket = 0;
    tn_error err = TN_ERROR_INIT;
    if (rig->backend->submit(rig->model, batch, &ticket, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return ticket;
}
