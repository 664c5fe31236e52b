/* runtime/service/wish_model.h: where the model of a wish lies, pinned, and kept as long as it is wished for. */
#ifndef SERVICE_WISH_MODEL_H
#define SERVICE_WISH_MODEL_H

#include "registry/registry.h"
#include "service/wish.h"

/* From wish->model: path and digest (empty: it is a path). TN_E_NOT_FOUND, TN_E_ARGUMENT: there is no such model. */
tn_status wish_find_model(const settings *settings, wish *wish, tn_error *err);
/* take: the registry keeps what the digest names for this holder, until it is released. A path needs none. */
tn_status wish_lease(const settings *settings, const wish *wish, const char *holder, bool take, tn_error *err);
/* Releases what holders have that are no more (registry_release_gone). Without a registry there is nothing. */
tn_status wish_release_gone(const settings *settings, lease_is_gone is_gone, void *ctx, tn_error *err);

#endif
