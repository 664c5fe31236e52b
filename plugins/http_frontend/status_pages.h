/* status_pages.h: the answers to GET: models, readiness, version, metrics. */
#ifndef HTTP_STATUS_PAGES_H
#define HTTP_STATUS_PAGES_H

#include "api_error.h"
#include "front.h"

void models_write(tn_front *front, byte_buffer *out);
tn_status model_write(tn_front *front, const char *name, byte_buffer *out, api_error *error);
void version_write(byte_buffer *out);
/* Returns the HTTP status, 200 or 503: of the one engine; in the daemon, which starts engines when they are asked for,
 * its own, with what each model says. brief: just whether, for who has shown no key. */
uint32_t ready_write(tn_front *front, bool brief, byte_buffer *out);
/* Prometheus text format 0.0.4: every series as tenon:NAME and, if the settings say so, as vllm:NAME. */
void metrics_write(tn_front *front, byte_buffer *out);

#endif
