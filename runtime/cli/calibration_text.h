/* runtime/cli/calibration_text.h: a text file as the sequences that `tenon quantize` runs through the model. */
#ifndef CLI_CALIBRATION_TEXT_H
#define CLI_CALIBRATION_TEXT_H

#include "cli/command.h"
#include "quantize/quantize.h"

typedef struct calibration_text {
    session session;
    bool open;
    int32_t *ids; /* owned, the text's */
    quantize_text text;
} calibration_text;

/* Tokenizes the file with the tokenizer of the model that args name, and cuts `samples` sequences of `tokens` out of
 * it, evenly spread. False: printed why. The model is opened; no weights are read. */
bool calibration_text_open(calibration_text *text, args *args, const char *path, uint32_t samples, uint32_t tokens);
void calibration_text_close(calibration_text *text);

#endif
