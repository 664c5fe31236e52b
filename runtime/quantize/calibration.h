/* runtime/quantize/calibration.h: what the inputs of the quantized weights look like on a text, and the scales that
 * follow from it; both kept in a log, from which a run that was stopped goes on.
 *
 * The text passes the model layer by layer. For every group of weights that share an input the sums of its magnitudes
 * by column and some of its rows are recorded, are in memory until the layer's scales are found, and lie in the log
 * from then on. Records and scales are the same however often the run was stopped.
 */
#ifndef QUANTIZE_CALIBRATION_H
#define QUANTIZE_CALIBRATION_H

#include "quantize/provenance.h"
#include "quantize/scale_group.h"

enum { CALIBRATION_PATH_BYTES = 4096 };

/* Of one group's input: record[columns + 1] doubles, sums of magnitudes and the number of rows that went in; behind
 * them float [calibration_row_count()][columns]. */
typedef struct calibration_input {
    unsigned char *record; /* owned, while its layer is at work */
    uint64_t record_at;    /* in the log; 0: not there */
    float *scales;         /* [columns], owned; NULL until they have been found */
} calibration_input;

typedef struct calibration {
    const quantize_text *text; /* borrowed */
    scale_groups groups;
    uint32_t sequence_rows;    /* rows that a sequence leaves at most */
    calibration_input *inputs; /* [groups.count], owned */
    int log;                   /* file, -1: none */
    uint64_t log_end;
    char path[CALIBRATION_PATH_BYTES]; /* of the log */
} calibration;

/* Opens or makes the log, calibration.partial in the destination, and takes what it holds. A log that is not of this
 * run is TN_E_ARGUMENT; what a killed run left half written is cut off. */
tn_status calibration_open(calibration *calibration, const quantize_request *request, const tn_graph *graph,
                           const shard_plan *plan, const provenance *provenance, tn_error *err);
void calibration_close(calibration *calibration); /* half-open is fine; the log stays */
/* Removes the log and what lies beside it, of a directory that is whole. */
tn_status calibration_remove_log(const char *directory, tn_error *err);

/* Runs the text through the layers that it has not passed, and finds the scales that are not there yet. Reports
 * sequences through layers, and groups. */
tn_status calibration_run(calibration *calibration, const quantize_request *request, const tn_graph *graph,
                          const checkpoint *checkpoint, uint32_t group_size, weights_progress progress, tn_error *err);

uint64_t calibration_row_count(const calibration *calibration);
/* Memory for a group's record, zeroed when it is first asked for; NULL: there is none. */
unsigned char *calibration_record(calibration *calibration, uint32_t group);
double *calibration_sums(unsigned char *record);
float *calibration_rows_of(const calibration *calibration, uint32_t group, unsigned char *record);
/* The rows of a group's input, from the log: ret_rows[calibration_row_count()][columns]. */
tn_status calibration_rows(const calibration *calibration, uint32_t group, float *ret_rows, tn_error *err);

/* ---- the log: calibration_log.c ---- */
enum { LOG_INPUT = 1, LOG_SCALES = 2 };
uint64_t calibration_record_bytes(const calibration *calibration, uint32_t group);
tn_status calibration_log_open(calibration *calibration, const provenance *provenance, tn_error *err);
/* *ret_at: where data begins. */
tn_status calibration_log_add(calibration *calibration, uint32_t kind, uint32_t index, const void *data, uint64_t bytes,
                              uint64_t *ret_at, tn_error *err);
tn_status calibration_log_sync(const calibration *calibration, tn_error *err);
tn_status calibration_log_read(const calibration *calibration, uint64_t at, void *ret_data, uint64_t bytes,
                               tn_error *err);

#endif
