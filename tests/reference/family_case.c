/* family_case.c: see family_case.h. */
#include "family_case.h"
#ifdef TEST_CPU
#include "backend.h"
#else
#include "tenon/interp.h"
#endif
#include "base/half.h"
#include "unit/cmocka_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef FAMILY_GOLDEN
#define FAMILY_GOLDEN "/families.json"
#endif

static json_t *golden;
static int32_t prompt[FAMILY_PROMPT];

const char *golden_folder(void)
{
    const char *given = getenv("TENON_GOLDEN");
    return given ? given : GOLDEN_DIR;
}

int family_golden_load(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s" FAMILY_GOLDEN, golden_folder());
    golden = json_load_file(path, 0, NULL);
    json_t *ids = json_object_get(golden, "prompt_ids");
    if (json_array_size(ids) != FAMILY_PROMPT)
        return -1;
    for (size_t i = 0; i < FAMILY_PROMPT; i++)
        prompt[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    return 0;
}

int family_golden_drop(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

static json_t *case_at(uint32_t index)
{
    return json_array_get(json_object_get(golden, "cases"), index);
}

uint32_t family_count(void)
{
    return (uint32_t)json_array_size(json_object_get(golden, "cases"));
}

const char *family_name(uint32_t index)
{
    return json_string_value(json_object_get(case_at(index), "name"));
}

bool family_is_run(const char *name)
{
#ifdef FAMILIES_RUN
    static const char *const chosen[] = {FAMILIES_RUN};
    for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++)
        if (strcmp(chosen[i], name) == 0)
            return true;
    return false;
#else
    return name != NULL;
#endif
}

const int32_t *family_prompt(void)
{
    return prompt;
}

static json_t *find_case(const char *name)
{
    for (uint32_t i = 0; i < family_count(); i++) {
        if (strcmp(family_name(i), name) == 0)
            return case_at(i);
    }
    fail_msg("no case %s in " FAMILY_GOLDEN, name);
    return NULL;
}

/* ---- directories ---- */

/* Members of `edit` take the place of those of `config`; null takes away; objects within are edited likewise. */
static void merge(json_t *config, json_t *edit)
{
    const char *key;
    json_t *value;

    json_object_foreach(edit, key, value)
    {
        json_t *old = json_object_get(config, key);
        if (json_is_null(value))
            json_object_del(config, key);
        else if (json_is_object(value) && json_is_object(old))
            merge(old, value);
        else
            json_object_set(config, key, value);
    }
}

void family_directory_make(const char *name, const char *edit, char *path)
{
    json_t *found = find_case(name), *changes = edit ? json_loads(edit, 0, NULL) : json_object();
    const char *files = json_string_value(json_object_get(found, "files")), *parent = getenv("TMPDIR");
    char from[256], to[300];

    assert_non_null(changes);
    snprintf(from, sizeof from, "%s/families/%s/config.json", golden_folder(), files);
    json_t *config = json_load_file(from, 0, NULL);
    assert_non_null(config);
    json_object_update(config, json_object_get(found, "edit"));
    merge(config, changes);

    snprintf(path, 256, "%s/tenon_family_XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(path));
    snprintf(to, sizeof to, "%s/config.json", path);
    assert_int_equal(json_dump_file(config, to, JSON_INDENT(1)), 0);
    snprintf(from, sizeof from, "%s/families/%s/model.safetensors", golden_folder(), files);
    snprintf(to, sizeof to, "%s/model.safetensors", path);
    assert_int_equal(symlink(from, to), 0);
    json_decref(config);
    json_decref(changes);
}

void family_directory_remove(const char *path)
{
    static const char *const names[] = {"config.json", "model.safetensors", "model.safetensors.index.json"};
    char file[300];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        unlink(file);
    }
    assert_int_equal(rmdir(path), 0);
}

/* ---- logits ---- */

/* The golden row `index` of case `name`, in float32 and, if it has one and ret_brain is not NULL, in bfloat16; returns
 * its position. */
static size_t golden_row(json_t *found, size_t index, double row[FAMILY_VOCAB], double ret_brain[FAMILY_VOCAB])
{
    json_t *numbers = json_array_get(json_object_get(found, "logits"), index);
    const char *digits = json_string_value(json_array_get(json_object_get(found, "bfloat16_logits"), index));
    size_t position = (size_t)json_integer_value(json_array_get(json_object_get(golden, "positions"), index));

    assert_true(json_array_size(numbers) == FAMILY_VOCAB && position < FAMILY_PROMPT);
    for (size_t i = 0; i < FAMILY_VOCAB; i++) {
        unsigned bits = 0;
        row[i] = json_number_value(json_array_get(numbers, i));
        if (!ret_brain)
            continue;
        assert_int_equal(sscanf(digits + 4 * i, "%4x", &bits), 1);
        ret_brain[i] = (double)float_from_bf16((uint16_t)bits);
    }
    return position;
}

static size_t golden_count(json_t *found)
{
    size_t count = json_array_size(json_object_get(golden, "positions"));

    assert_true(count > 0 && json_array_size(json_object_get(found, "logits")) == count);
    return count;
}

static double largest_logit(json_t *found)
{
    double row[FAMILY_VOCAB], largest = 0;

    for (size_t r = 0; r < golden_count(found); r++) {
        golden_row(found, r, row, NULL);
        for (size_t i = 0; i < FAMILY_VOCAB; i++)
            largest = fmax(largest, fabs(row[i]));
    }
    return largest;
}

/* max |row - logits|; NAN if one of them is. */
static double distance(const double row[FAMILY_VOCAB], const float *logits)
{
    double worst = 0;

    for (size_t i = 0; i < FAMILY_VOCAB; i++) {
        double difference = fabs((double)logits[i] - row[i]);
        if (isnan(difference))
            return NAN;
        worst = fmax(worst, difference);
    }
    return worst;
}

double family_error(const char *name, const float *logits)
{
    json_t *found = find_case(name);
    double row[FAMILY_VOCAB], worst = 0;

    for (size_t r = 0; r < golden_count(found); r++) {
        size_t position = golden_row(found, r, row, NULL);
        double error = distance(row, logits + position * FAMILY_VOCAB);
        if (isnan(error))
            return NAN;
        worst = fmax(worst, error);
    }
    return worst / largest_logit(found);
}

family_bfloat16 family_compare_bfloat16(const char *name, const float *logits, double bound)
{
    json_t *found = find_case(name), *brain_rows = json_object_get(found, "bfloat16_logits");
    double row[FAMILY_VOCAB], brain[FAMILY_VOCAB], largest = largest_logit(found);
    family_bfloat16 result = {0};

    for (size_t r = 0; r < json_array_size(brain_rows); r++) {
        const float *ours = logits + golden_row(found, r, row, brain) * FAMILY_VOCAB;
        float theirs[FAMILY_VOCAB];
        for (size_t i = 0; i < FAMILY_VOCAB; i++)
            theirs[i] = (float)brain[i];
        double from_brain = distance(brain, ours), from_exact = distance(row, ours), own = distance(row, theirs);
        if (isnan(from_brain))
            return (family_bfloat16){1, 1, NAN, NAN, NAN};
        result.own_error = fmax(result.own_error, own / largest);
        if (own / largest <= bound) {
            result.near_count++;
            result.near_error = fmax(result.near_error, from_brain / largest);
        } else {
            result.far_count++;
            result.far_ratio = fmax(result.far_ratio, from_exact / own);
        }
    }
    return result;
}

/* Largest |theirs - float32| / max |logit| of transformers in bfloat16 on a model with the case's files. */
static double own_error(json_t *found)
{
    const char *files = json_string_value(json_object_get(found, "files"));
    double worst = 0;

    for (uint32_t i = 0; i < family_count(); i++) {
        json_t *errors = json_object_get(case_at(i), "bfloat16_error");
        if (strcmp(json_string_value(json_object_get(case_at(i), "files")), files) != 0)
            continue;
        for (size_t r = 0; r < json_array_size(errors); r++)
            worst = fmax(worst, json_number_value(json_array_get(errors, r)));
    }
    return worst;
}

uint32_t family_beyond_bfloat16(const char *name, const float *logits, uint32_t count, double bound, double *ret_share)
{
    json_t *found = find_case(name);
    double row[FAMILY_VOCAB], allowed = fmax(bound, own_error(found)) * largest_logit(found);
    uint32_t beyond = 0;

    *ret_share = 0;
    for (size_t r = 0; r < golden_count(found); r++) {
        size_t position = golden_row(found, r, row, NULL);
        if (position >= count)
            continue;
        double error = distance(row, logits + position * FAMILY_VOCAB);
        beyond += !(error <= allowed);
        *ret_share = isnan(error) ? INFINITY : fmax(*ret_share, error / allowed);
    }
    return beyond;
}

#ifndef ON_DEVICE /* programs for a GPU load their plugins themselves */

const tn_backend *family_backend(void)
{
#ifdef TEST_CPU
    return cpu_backend();
#else
    const tn_backend *backend = NULL;
    assert_int_equal(tn_interp_backend(tn_interp_host_ops(), &backend, NULL), TN_OK);
    return backend;
#endif
}

void family_open(model_rig *rig, const char *path, uint32_t kv_dtype, void (*edit)(model_config *config))
{
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    rig_limits limits = {.max_tokens = FAMILY_PROMPT,
                         .max_seqs = 4,
                         .max_outputs = FAMILY_PROMPT,
                         .max_model_len = FAMILY_PROMPT,
                         .kv_dtype = kv_dtype,
                         .edit = edit};

    rig_open(rig, path, quant, family_backend(), limits);
    assert_int_equal(rig->api->vocab_size, FAMILY_VOCAB);
}

#endif

void family_run(model_rig *rig, float *logits)
{
    rig_step(rig, &(rig_run){.slot = 0, .count = FAMILY_PROMPT, .token = prompt}, 1, logits);
}
