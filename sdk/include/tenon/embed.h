/* tenon/embed.h: libtenon, the core inside your own program.
 *
 * The same settings as `tenon serve FILE.ini`, the same tables as a front end; no HTTP, no second copy of the weights.
 * A process may hold several runtimes. Link with pkg-config tenon.
 */
#ifndef TENON_EMBED_H
#define TENON_EMBED_H

#include "tenon/frontend.h"

TN_BEGIN_DECLS

typedef struct tn_runtime tn_runtime;

/* Loads plugins and model and starts the engine. ini_path: settings file, NULL for defaults; overrides:
 * "section.key=value" strings, NULL-terminated, or NULL. Front ends named there are not started: the program is one.
 * Errors name file, line and key. [any] */
TN_EXPORT tn_status tn_runtime_open(const char *ini_path, const char *const *overrides, tn_runtime **ret_runtime,
                                    tn_error *err);
/* The same, with the front ends of frontend.plugins started in this process: for a program that others ask, or that asks
 * itself the way it would ask a server. [any] */
TN_EXPORT tn_status tn_runtime_serve(const char *ini_path, const char *const *overrides, tn_runtime **ret_runtime,
                                     tn_error *err);
/* Stops the engine, cancels what is left, frees everything. NULL is fine; no client may be open. [ctl] */
TN_EXPORT void tn_runtime_close(tn_runtime *runtime);
/* The engine to pass to the tables below. Borrowed until close. [any] */
TN_EXPORT tn_engine *tn_runtime_engine(tn_runtime *runtime);
/* A table by interface id: TN_ENGINE_ID, TN_CHAT_ID, TN_STATS_ID; NULL if this library has none. [any] */
TN_EXPORT const void *tn_runtime_interface(tn_runtime *runtime, const char *id);
/* Version of the library, "0.1.0". [any] */
TN_EXPORT const char *tn_version(void);

TN_END_DECLS
#endif
