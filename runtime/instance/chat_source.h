/* runtime/instance/chat_source.h: where a model's chat template is, and what it wants to know of the tokenizer. */
#ifndef INSTANCE_CHAT_SOURCE_H
#define INSTANCE_CHAT_SOURCE_H

#include "tenon/source.h"

#include <jansson.h>

/* All owned. */
typedef struct chat_source {
    char *text; /* [bytes] */
    uint64_t bytes;
    char *tool_text; /* [tool_bytes] the template for requests with tools; NULL: the same */
    uint64_t tool_bytes;
    json_t *tokens; /* {"pad_token": text} besides bos_token and eos_token; NULL: none */
} chat_source;

/* First wins: the file at path (NULL: none named), GGUF's tokenizer.chat_template, a directory's chat_template.jinja,
 * its chat_template.json, the chat_template of its tokenizer_config.json. TN_E_NOT_FOUND without a message: there is
 * none. Call chat_source_finish either way. */
tn_status chat_source_find(const tn_source *source, const char *path, chat_source *ret_found, tn_error *err);
void chat_source_finish(chat_source *found);

#endif
