/* runtime/model/describe.h: a checkpoint in words: container, metadata and tensors, for people or as JSON. */
#ifndef MODEL_DESCRIBE_H
#define MODEL_DESCRIBE_H

#include "model/checkpoint.h"

#include <stdbool.h>
#include <stdio.h>

/* Prints everything the headers say; reads no tensor data. Long strings and arrays are cut, and say how long they are.
 * Strings of the file are escaped, so that none can command a terminal or break the JSON. The JSON is one object:
 *   {"path", "container", "tensor_bytes", "metadata": {key: value}, "tensors": [{"name", "type", "shape", "bytes"}]}
 * where an array is {"element", "count", "first": [...]} and a string that was cut is {"bytes", "start"}.
 * What cannot be written is for the owner of `to` to find (ferror). */
void checkpoint_describe(const checkpoint *checkpoint, FILE *to, bool json);

#endif
