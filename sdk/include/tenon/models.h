/* tenon/models.h: "tn.models", the models that this process answers for, by name: one in `tenon serve`, those of all
 * services in the daemon. A front end asks for an engine per request, and finds out what came and went.
 */
#ifndef TENON_MODELS_H
#define TENON_MODELS_H

#include "tenon/engine.h"

TN_BEGIN_DECLS

#define TN_MODELS_ID "tn.models/1"

typedef struct tn_models tn_models;

/* Every engine that is returned is retained: it stays valid until released, though its model may go meanwhile; what is
 * submitted to it then ends with TN_E_CANCELLED. All engines of a process share one tn_engine_table. */
typedef struct tn_models_table {
    uint32_t struct_size, flags;
    /* Another number whenever a model came or went, so that who keeps a list knows when to ask again. [any] */
    uint64_t (*generation)(const tn_models *models);
    /* The index-th model, TN_E_NOT_FOUND past the last. Its names are in tn_engine_info.served_names. [any] */
    tn_status (*at)(tn_models *models, uint32_t index, tn_engine **ret_engine);
    /* By any of its names. TN_E_NOT_FOUND: there is none, and the message says which there are. TN_E_AGAIN: it is on
     * its way, and the message says how far. Another status: it has failed, and why. [any] */
    tn_status (*find)(tn_models *models, const char *name, tn_engine **ret_engine, tn_error *err);
    void (*release)(tn_models *models, tn_engine *engine); /* NULL is fine. [any] */
} tn_models_table;
TN_SEALED(tn_models_table, release);

TN_END_DECLS
#endif
