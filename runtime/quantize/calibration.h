/* runtime/quantize/calibration.h: what the inputs of the quantized weights look like on a text, and the scales that
 * follow from it; both kept in a log, from which a run that was stopped goes on.
 *
 * Each sequence of the text leaves one record: for every group of weights that share an input, the sums of its
 * magnitudes by column, and some of its rows. Records and scales are the same however often the run was stopped.
 */
#ifndef QUANTIZE_CALIBRATION_H
#define QUANTIZE_CALIBRATION_H

#include "quantize/quantize.h"
#include "quantize/scale_group.h"

enum { CALIBRATION_PATH_BYTES = 4096 };

typedef struct calibration {
    const quantize_text *text; /* borrowed */
    scale_groups groups;
    uint32_t sequence_rows;  /* rows that a sequence leaves */
    uint64_t record_bytes;   /* of a sequence */
    uint64_t *sums_at;       /* [groups.count] bytes into a record: double [columns] */
    uint64_t *rows_at;       /* [groups.count] float [sequence_rows][columns] */
    unsigned char **records; /* [text->sequences], owned; NULL until the sequence has run */
    float **scales;          /* [groups.count] of [columns], owned; NULL until they have been found */
    int log;                 /* file, -1: none */
    char path[CALIBRATION_PATH_BYTES]; /* of the log */
} calibration;

/* Opens or makes the log, calibration.partial in the destination, and takes what it holds. A log of another text, model or other
 * settings is TN_E_ARGUMENT; what a killed run left half written is cut off. */
tn_status calibration_open(calibration *calibration, const quantize_request *request, const tn_graph *graph,
                           const shard_plan *plan, tn_error *err);
void calibration_close(calibration *calibration); /* half-open is fine; the log stays */
/* Removes the log of a directory that is whole. */
tn_status calibration_remove_log(const char *directory, tn_error *err);

/* Runs the sequences of the text that are not there yet, through input_tap. */
tn_status calibration_run(calibration *calibration, weights_progress progress, tn_error *err);
/* Finds the scales that are not there yet. */
tn_status calibration_find_scales(calibration *calibration, const tn_source *source, uint32_t group_size,
                                  weights_progress progress, tn_error *err);

/* Mean magnitude of each column of a group's input: ret_means[columns]. */
void calibration_means(const calibration *calibration, uint32_t group, double *ret_means);
uint64_t calibration_row_count(const calibration *calibration);
/* The rows of a group's input: ret_rows[calibration_row_count()][columns]. */
void calibration_rows(const calibration *calibration, uint32_t group, float *ret_rows);

/* ---- the log: calibration_log.c ---- */
enum { LOG_SEQUENCE = 1, LOG_SCALES = 2 };
tn_status calibration_log_open(calibration *calibration, const uint64_t fingerprint[2], tn_error *err);
tn_status calibration_log_add(calibration *calibration, uint32_t kind, uint32_t index, const void *data,
                              uint64_t bytes, tn_error *err);

#endif
