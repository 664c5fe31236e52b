/* runtime/quantize/side_files.h: what a checkpoint directory holds besides its weights. */
#ifndef QUANTIZE_SIDE_FILES_H
#define QUANTIZE_SIDE_FILES_H

#include "quantize/shards.h"

/* Copies tokenizer, templates, licence...: every regular file but weights, their index and config.json. */
tn_status side_files_copy(const quantize_request *request, tn_error *err);
/* config.json with the quantization_config of the request; TN_E_ARGUMENT if the source has one already. */
tn_status side_files_write_config(const quantize_request *request, const tn_source *source, const shard_plan *plan,
                                  tn_error *err);
/* TN_E_ARGUMENT if config.json says that the checkpoint is quantized. */
tn_status side_files_check_config(const tn_source *source, tn_error *err);

#endif
