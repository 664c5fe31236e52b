/* generation.c: see generation.h.
 *
 * The keys are those that vLLM takes over (get_diff_sampling_param); like it, do_sample and max_length, which speak of
 * transformers' own generate(), are left alone. Ranges are those of a request, but for temperatures of one in a
 * million, which some authors write for greedy: they are.
 */
#include "model/generation.h"

#include "model/config_json.h"

const tn_sampling_defaults generation_neutral = {.temperature = 1.0f, .top_p = 1.0f, .repetition = 1.0f};

#define TEMPERATURE_MIN 1e-4f /* a request may have; below, the sampler's logits would overflow */

static void read_defaults(config_reader *reader, tn_sampling_defaults *defaults)
{
    config_real(reader, "temperature", 0.0, 100.0, 1.0, &defaults->temperature);
    if (defaults->temperature < TEMPERATURE_MIN)
        defaults->temperature = 0.0f;
    config_real(reader, "top_p", 1e-6, 1.0, 1.0, &defaults->top_p);
    config_real(reader, "min_p", 0.0, 1.0, 0.0, &defaults->min_p);
    config_real(reader, "repetition_penalty", 0.01, 100.0, 1.0, &defaults->repetition);
    if (config_has(reader, "top_k"))
        config_count(reader, "top_k", 0, INT32_MAX, 0, &defaults->top_k);
    if (config_has(reader, "max_new_tokens"))
        config_count(reader, "max_new_tokens", 1, INT32_MAX, 0, &defaults->max_new);
}

tn_status generation_defaults_read(const tn_source *source, tn_sampling_defaults *ret_defaults, tn_error *err)
{
    tn_sampling_defaults defaults = generation_neutral;
    json_t *root;
    tn_status status = config_json_load(source, "generation_config.json", &root, err);

    if (status == TN_OK && root) {
        config_reader reader = config_json_reader(source, root, "generation_config.json ", err);
        read_defaults(&reader, &defaults);
        status = reader.status;
    }
    json_decref(root);
    if (status == TN_OK)
        *ret_defaults = defaults;
    return status;
}
