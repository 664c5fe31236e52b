/* runtime/chat/chat_template.h: Hugging Face chat templates, run by our Jinja interpreter with HF's settings. */
#ifndef CHAT_CHAT_TEMPLATE_H
#define CHAT_CHAT_TEMPLATE_H

#include "tenon/error.h"

#include <time.h>

typedef struct chat_template chat_template;

/* text: the template; bos, eos: their texts, "" if the model has none. Errors name the line. Copies everything. */
tn_status chat_template_create(const char *text, uint64_t n_text, const char *bos, const char *eos,
                               chat_template **ret_template, tn_error *err);
/* Both before the first rendering, and of the model's own too: a further variable, such as pad_token; and the template
 * for requests with tools, where the model has one of its own for them. Copied. */
tn_status chat_template_set_token(chat_template *chat_template, const char *name, const char *text, tn_error *err);
tn_status chat_template_set_tool_use(chat_template *chat_template, const char *text, uint64_t n_text, tn_error *err);
void chat_template_destroy(chat_template *chat_template);

/* json: {"messages": [...], "tools": [...]?, "documents": [...]?, "add_generation_prompt": bool?,
 * "chat_template_kwargs": {...}?}; other keys are ignored. Renders into a malloc'ed, terminated string that the caller
 * frees. TN_E_ARGUMENT: bad JSON (names the field) or the template's own raise_exception; limits on steps, depth, and
 * output bytes. Thread-safe. [any] */
tn_status chat_template_render(const chat_template *chat_template, const char *json, uint64_t n_json, char **ret_text,
                               uint64_t *ret_bytes, tn_error *err);
/* The same at a given local time, which strftime_now tells. */
tn_status chat_template_render_at(const chat_template *chat_template, const char *json, uint64_t n_json,
                                  const struct tm *now, char **ret_text, uint64_t *ret_bytes, tn_error *err);

#endif
