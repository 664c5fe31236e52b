/* quant_method.c: see quant_method.h. */
#include "model/quant_method.h"

#include "base/edit_distance.h"

#include <stdbool.h>
#include <string.h>

enum { GROUP_MAX = 128, GROUP_MIN = 8 };

static const struct method {
    const char *name;
    uint32_t qtype, bits, scale_type, zero_type;
    bool grouped;
} methods[] = {
    {"awq", TN_Q_UNSIGNED, 4, TN_F16, TN_ZERO_POINT, true},
    {"int4", TN_Q_SIGNED, 4, TN_BF16, TN_ZERO_NONE, true},
    {"int8", TN_Q_SIGNED, 8, TN_BF16, TN_ZERO_NONE, false},
    {"fp8", TN_Q_E4M3, 8, TN_BF16, TN_ZERO_NONE, false},
};
enum { METHODS = sizeof methods / sizeof *methods };

static tn_status find_method(const char *name, const char *key, const struct method **ret_method, tn_error *err)
{
    const char *names[METHODS];
    for (int i = 0; i < METHODS; i++) {
        names[i] = methods[i].name;
        if (strcmp(methods[i].name, name) == 0) {
            *ret_method = &methods[i];
            return TN_OK;
        }
    }
    const char *nearest = nearest_name(name, names, METHODS);
    if (nearest)
        return tn_fail(err, TN_E_ARGUMENT, "%s %.40s: did you mean %s?", key, name, nearest);
    return tn_fail(err, TN_E_ARGUMENT, "%s %.40s: it is one of %s", key, name, QUANT_METHODS);
}

/* The largest group up to 128 that divides all inputs. */
static uint32_t group_of(uint64_t inputs)
{
    uint32_t group = GROUP_MAX;
    while (group > GROUP_MIN && inputs % group)
        group /= 2;
    return group;
}

static tn_enc encoding_of(const struct method *method, uint64_t inputs)
{
    return (tn_enc){.struct_size = sizeof(tn_enc),
                    .family = TN_ENC_AFFINE,
                    .qtype = method->qtype,
                    .bits = method->bits,
                    .group_k = method->grouped ? group_of(inputs) : (uint32_t)inputs,
                    .scale_type = method->scale_type,
                    .zero_type = method->zero_type};
}

tn_status quant_method_encoding(const char *method, uint64_t inputs, const char *key, tn_enc *ret_enc, tn_error *err)
{
    const struct method *found;
    tn_status status = find_method(method, key, &found, err);

    if (status == TN_OK)
        *ret_enc = encoding_of(found, inputs);
    return status;
}
