/* tenon/chat.h: "tn.chat", messages to prompt text through the model's own chat template. */
#ifndef TENON_CHAT_H
#define TENON_CHAT_H

#include "tenon/engine.h"

TN_BEGIN_DECLS

#define TN_CHAT_ID "tn.chat/1"

typedef struct tn_chat_table {
    uint32_t struct_size, flags;
    /* Renders json = {"messages": [...], "tools": [...]?, "add_generation_prompt": bool?, "chat_template_kwargs": {}?}
     * into UTF-8 text. *n_text: in, capacity; out, bytes needed, without terminator. TN_E_MEMORY when it does not fit;
     * TN_E_NOT_FOUND: the model has no template; TN_E_ARGUMENT: bad JSON, or the template refused the conversation (its
     * own words in err). Bounded in time and output. [any] */
    tn_status (*render)(tn_engine *engine, const char *json, uint64_t n_json, char *text, uint64_t *n_text,
                        tn_error *err);
} tn_chat_table;
TN_SEALED(tn_chat_table, render);

TN_END_DECLS
#endif
