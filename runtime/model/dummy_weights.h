/* runtime/model/dummy_weights.h: random weights in place of a checkpoint's (model.load_format=dummy), so that the shape
 * of a model can be planned and timed without its files.
 *
 * The same name and shape give the same bytes, in whatever blocks they are read. Values keep activations finite:
 * matrices have elements of about 1/sqrt(K), vectors (gains, biases) of 1 to 2.
 *
 * They are bfloat16, or with a method of quant_method.h, the matrices of products and experts (not the routers, the
 * embedding and the output matrix) are in its codes.
 */
#ifndef MODEL_DUMMY_WEIGHTS_H
#define MODEL_DUMMY_WEIGHTS_H

#include "model/graph.h"
#include "tenon/quant.h"

/* Speaks for every tensor that the graph reads. method: NULL for bf16. graph is borrowed until close. TN_E_ARGUMENT: no
 * such method. TN_E_UNSUPPORTED if config.json says that the model is quantized: what is made up here would be neither
 * its size nor its speed. [ctl] */
tn_status dummy_weights_open(const tn_source *source, const tn_graph *graph, const char *method,
                             tn_qmodel **ret_qmodel, tn_error *err);

/* `open` fails: there is no graph yet when it is called. */
extern const tn_quant_table dummy_weights_table;

#endif
