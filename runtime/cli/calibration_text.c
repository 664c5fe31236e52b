/* calibration_text.c: the model is opened for its tokenizer and for reading its weights, which the quantizer does. */
#include "cli/calibration_text.h"

#include <stdlib.h>

static bool is_long_enough(const calibration_text *c, const char *path)
{
    uint64_t needed = (uint64_t)c->text.sequences * c->text.tokens;

    if (c->text.tokens > c->session.instance.config.context) {
        fprintf(stderr, "tenon: sequences of %u tokens, the model reads %u: give a smaller --sequence-length\n",
                c->text.tokens, c->session.instance.config.context);
        return false;
    }
    if (c->text.count >= needed)
        return true;
    fprintf(stderr,
            "tenon: %s has %llu tokens, %u samples of %u need %llu: give a longer text, or --samples of at most %llu\n",
            path, (unsigned long long)c->text.count, c->text.sequences, c->text.tokens, (unsigned long long)needed,
            (unsigned long long)(c->text.count / c->text.tokens));
    return false;
}

bool calibration_text_open(calibration_text *c, args *args, const char *path, uint32_t samples, uint32_t tokens)
{
    const instance *in = &c->session.instance;
    uint64_t bytes;

    *c = (calibration_text){.text = {.sequences = samples, .tokens = tokens}};
    char *text = read_input(path, &bytes);
    if (!text)
        return false;
    c->open = session_open(&c->session, args, STAGE_MODEL) < 0;
    c->ids = c->open ? tokenize_text(&c->session.instance, text, bytes, 0, &c->text.count) : NULL;
    free(text);
    c->text.ids = c->ids;
    c->text.config = &in->config;
    c->text.weights = in->weights;
    c->text.checkpoint = in->checkpoint;
    return c->ids && is_long_enough(c, path);
}

void calibration_text_close(calibration_text *c)
{
    free(c->ids);
    if (c->open)
        session_close(&c->session);
    *c = (calibration_text){0};
}
