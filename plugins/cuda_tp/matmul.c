/* matmul.c: see matmul.h. To cuBLASLt, whose matrices run down columns, w is [k, n] and transposed, x [k, rows] and y
 * [n, rows]; the row count is set in two layouts before every product, which allocates nothing.
 */
#include "matmul.h"

#include <stdlib.h>

enum { CANDIDATES = 8 };

typedef struct choice {
    bool found;
    cublaslt_algorithm algorithm;
} choice;

typedef struct shape_state {
    matmul_shape shape;
    cublaslt_layout w, x, y;
    choice choices[MATMUL_CLASSES];
} shape_state;

struct matmul {
    const cublaslt_library *library;
    cublaslt_handle handle;
    cublaslt_product product;
    void *workspace;
    uint32_t count;
    shape_state shapes[];
};

static tn_status check(const matmul *m, int status, const char *what, tn_error *err)
{
    if (status == CUBLASLT_SUCCESS)
        return TN_OK;
    tn_fail(err, TN_E_DEVICE_LOST, "cuBLASLt %s: %s", what, m->library->status_string(status));
    if (err)
        err->native_code = status;
    return TN_E_DEVICE_LOST;
}

/* Rows of class i are beyond class_rows(i) and up to class_rows(i + 1). */
static uint32_t class_rows(uint32_t i)
{
    return (uint32_t)CUDA_FEW_ROWS << i;
}

static uint32_t class_of(uint32_t rows)
{
    uint32_t i = 0;
    while (rows > class_rows(i + 1))
        i++;
    return i;
}

static int set_rows(const matmul *m, const shape_state *s, uint64_t rows)
{
    int status = m->library->layout_set(s->x, CUBLASLT_LAYOUT_COLUMNS, &rows, sizeof rows);
    return status ? status : m->library->layout_set(s->y, CUBLASLT_LAYOUT_COLUMNS, &rows, sizeof rows);
}

/* ---- choosing ---- */

/* An algorithm for `most` rows may not do for fewer. */
static bool does_for(const matmul *m, const shape_state *s, const cublaslt_algorithm *algorithm, uint32_t rows)
{
    cublaslt_candidate result = {.state = CUBLASLT_SUCCESS};

    return set_rows(m, s, rows) == CUBLASLT_SUCCESS &&
           m->library->check(m->handle, m->product, s->w, s->x, s->y, s->y, algorithm, &result) == CUBLASLT_SUCCESS &&
           result.workspace <= MATMUL_WORKSPACE_BYTES;
}

/* The fastest by cuBLASLt's own estimate that does for all rows of a class; none is no failure. */
static tn_status choose(const matmul *m, shape_state *s, cublaslt_preference preference, uint32_t class_index,
                        tn_error *err)
{
    const uint32_t least = class_rows(class_index) + 1, top = class_rows(class_index + 1);
    const uint32_t most = top < s->shape.rows_max ? top : s->shape.rows_max;
    cublaslt_candidate candidates[CANDIDATES];
    choice *c = &s->choices[class_index];
    int count = 0;

    tn_status status = check(m, set_rows(m, s, most), "layout", err);
    if (status != TN_OK ||
        m->library->propose(m->handle, m->product, s->w, s->x, s->y, s->y, preference, CANDIDATES, candidates, &count))
        return status;
    for (int i = 0; i < count && !c->found; i++) {
        c->algorithm = candidates[i].algorithm;
        c->found = candidates[i].state == CUBLASLT_SUCCESS && candidates[i].workspace <= MATMUL_WORKSPACE_BYTES &&
                   does_for(m, s, &c->algorithm, least);
    }
    return TN_OK;
}

/* Runs what was chosen, so that its code is loaded before there are steps. */
static tn_status try_class(matmul *m, uint32_t shape, const matmul_place *place, uint32_t class_index,
                           cuda_stream stream, tn_error *err)
{
    const uint32_t top = class_rows(class_index + 1), limit = m->shapes[shape].shape.rows_max;

    return m->shapes[shape].choices[class_index].found
               ? matmul_run(m, shape, place, top < limit ? top : limit, stream, err)
               : TN_OK;
}

static tn_status create_preference(const matmul *m, cublaslt_preference *ret, tn_error *err)
{
    const uint64_t workspace = MATMUL_WORKSPACE_BYTES;
    const uint32_t alignment[4] = {256, 16, 16, 16};
    tn_status status = check(m, m->library->preference_create(ret), "preference", err);

    if (status == TN_OK)
        status = check(m, m->library->preference_set(*ret, CUBLASLT_PREFERENCE_WORKSPACE, &workspace, sizeof workspace),
                       "workspace", err);
    for (int i = 0; i < 4 && status == TN_OK; i++)
        status = check(
            m, m->library->preference_set(*ret, CUBLASLT_PREFERENCE_ALIGNMENT + i, &alignment[i], sizeof alignment[i]),
            "alignment", err);
    return status;
}

static tn_status create_layouts(const matmul *m, shape_state *s, tn_error *err)
{
    const matmul_shape *shape = &s->shape;
    const int y_type = shape->y_type == TN_F32 ? CUBLASLT_F32 : CUBLASLT_BF16;

    tn_status status =
        check(m, m->library->layout_create(&s->w, CUBLASLT_BF16, shape->k, shape->n, shape->w_stride), "layout", err);
    if (status == TN_OK)
        status = check(m, m->library->layout_create(&s->x, CUBLASLT_BF16, shape->k, shape->rows_max, shape->x_stride),
                       "layout", err);
    if (status == TN_OK)
        status = check(m, m->library->layout_create(&s->y, y_type, shape->n, shape->rows_max, shape->y_stride),
                       "layout", err);
    return status;
}

static tn_status choose_all(matmul *m, const matmul_place *places, cuda_stream stream, tn_error *err)
{
    cublaslt_preference preference = NULL;
    tn_status status = create_preference(m, &preference, err);

    for (uint32_t i = 0; i < m->count && status == TN_OK; i++) {
        shape_state *s = &m->shapes[i];
        status = create_layouts(m, s, err);
        for (uint32_t j = 0; j < MATMUL_CLASSES && status == TN_OK && class_rows(j) < s->shape.rows_max; j++) {
            status = choose(m, s, preference, j, err);
            if (status == TN_OK)
                status = try_class(m, i, &places[i], j, stream, err);
        }
    }
    if (preference)
        m->library->preference_destroy(preference);
    return status;
}

tn_status matmul_create(const cublaslt_library *library, const matmul_shape *shapes, const matmul_place *places,
                        uint32_t count, void *workspace, cuda_stream stream, matmul **ret, tn_error *err)
{
    const int32_t transposed = CUBLASLT_TRANSPOSED;
    matmul *m = calloc(1, sizeof *m + count * sizeof m->shapes[0]);

    if (!m)
        return tn_fail(err, TN_E_MEMORY, "the choice of products");
    *m = (matmul){.library = library, .workspace = workspace, .count = count};
    for (uint32_t i = 0; i < count; i++)
        m->shapes[i].shape = shapes[i];
    tn_status status = check(m, library->create(&m->handle), "start", err);
    if (status == TN_OK)
        status = check(m, library->product_create(&m->product, CUBLASLT_COMPUTE_F32, CUBLASLT_F32), "product", err);
    if (status == TN_OK)
        status =
            check(m, library->product_set(m->product, CUBLASLT_PRODUCT_TRANSPOSE_A, &transposed, sizeof transposed),
                  "product", err);
    if (status == TN_OK)
        status = choose_all(m, places, stream, err);
    if (status != TN_OK) {
        matmul_destroy(m);
        return status;
    }
    *ret = m;
    return TN_OK;
}

void matmul_destroy(matmul *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->count; i++) {
        cublaslt_layout layouts[] = {m->shapes[i].w, m->shapes[i].x, m->shapes[i].y};
        for (uint32_t j = 0; j < 3; j++)
            if (layouts[j])
                m->library->layout_destroy(layouts[j]);
    }
    if (m->product)
        m->library->product_destroy(m->product);
    if (m->handle)
        m->library->destroy(m->handle);
    free(m);
}

/* ---- steps ---- */

bool matmul_takes(const matmul *m, uint32_t shape, uint32_t rows)
{
    return m && shape < m->count && rows > CUDA_FEW_ROWS && rows <= m->shapes[shape].shape.rows_max &&
           rows <= MATMUL_ROWS_MAX && m->shapes[shape].choices[class_of(rows)].found;
}

tn_status matmul_run(matmul *m, uint32_t shape, const matmul_place *place, uint32_t rows, cuda_stream stream,
                     tn_error *err)
{
    const float one = 1, zero = 0;
    const shape_state *s = &m->shapes[shape];
    const cublaslt_algorithm *algorithm = &s->choices[class_of(rows)].algorithm;

    TN_ASSERT(matmul_takes(m, shape, rows));
    tn_status status = check(m, set_rows(m, s, rows), "layout", err);
    if (status != TN_OK)
        return status;
    return check(m,
                 m->library->multiply(m->handle, m->product, &one, place->w, s->w, place->x, s->x, &zero, place->y,
                                      s->y, place->y, s->y, algorithm, m->workspace, MATMUL_WORKSPACE_BYTES, stream),
                 "product", err);
}
