/* model.h: a model that requests have asked for: its engine, retained, our client there, and what we need to know of
 * its vocabulary.
 *
 * Made by the first request that names it and kept until the engine is listed no more; then the poller, who alone takes
 * events, closes the client once nobody uses it.
 */
#ifndef HTTP_MODEL_H
#define HTTP_MODEL_H

#include "api_error.h"
#include "front.h"
#include "special_text.h"

typedef struct http_model {
    tn_front *front;
    tn_engine *engine;
    tn_client *client;
    const tn_tokenizer_table *tok_api;
    const tn_tok *tok;
    tn_engine_info info;
    special_texts specials;
    uint64_t token_bytes_max; /* of the vocabulary's longest token */
    char fingerprint[24];     /* "fp_..." of model and version */
    uint64_t id;              /* tells it from past models */

    /* Under front->lock. */
    byte_buffer piece;       /* scratch of logprobs.c */
    uint32_t user_count;     /* requests that hold it */
    bool gone;               /* listed no more */
    struct http_model *next; /* of front->models */
} http_model;

/* The model of that name; NULL: the only one. Held until model_release. Refusals: 404 says which there are, 503 that it
 * is on its way. [any] */
tn_status model_find(tn_front *front, const char *name, http_model **ret_model, api_error *error);
void model_release(http_model *model); /* NULL is fine. [any] */
/* The one with that id, NULL: there is none any more. [poller] */
http_model *model_by_id(tn_front *front, uint64_t id);
/* Closes those that are gone and unused. [poller] */
void models_sweep(tn_front *front);
void models_close(tn_front *front); /* all of them; nobody uses one, and the poller has ended. [ctl] */

/* Calls visit with every model that is listed, and what its engine says of itself. [any] */
typedef void model_visitor(tn_front *front, tn_engine *engine, const tn_engine_info *info, void *ctx);
void models_visit(tn_front *front, model_visitor *visit, void *ctx);

#endif
