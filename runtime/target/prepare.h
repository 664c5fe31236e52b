/* runtime/target/prepare.h: from what is asked for to what is to run: the model found and pinned, the plan made, and
 * the settings of an instance written out. The same for every target.
 */
#ifndef TARGET_PREPARE_H
#define TARGET_PREPARE_H

#include "target/target.h"

typedef struct target_prepared {
    wish wish;
    engine_settings settings;
    json_t *plan;           /* owned: all that `tenon plan` says; NULL: it was not made */
    target_service service; /* borrows from the others */
} target_prepared;

/* Asks no cluster. spec: min 0 becomes 1, since nothing on a cluster wakes a service for a request. TN_E_ARGUMENT: a
 * field or a setting is wrong. TN_E_MEMORY: it does not fit, and plan has the changes that help, if any. Finish it in
 * any case. */
tn_status target_prepare(const settings *settings, const service_spec *spec, target_prepared *ret_prepared,
                         tn_error *err);
void target_prepared_finish(target_prepared *prepared); /* zeroed is fine */

#endif
