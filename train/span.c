/* SPDX-License-Identifier: Apache-2.0
 * Regression in the span of samples. */
#include "train/span.h"

#include "kernels/elementwise.h"
#include "kernels/gemm.h"

#include <math.h>
#include <string.h>

/* Rounds of the power method; it approaches the largest eigenvalue from below, so a little is added. */
#define POWER_ROUNDS 30u
#define POWER_MARGIN 1.1

/* Tables are [sample][block][class]. */
enum { START, TARGET, WEIGHT, MOVED, AHEAD, LOGITS, SLOPE, APPLIED, TABLES };

struct exn_span {
    exn_context *ctx;
    const exn_kernel_set *kernels;
    const float *features;
    size_t count, width, classes, blocks, columns;
    float *product; /* [count][count]: x_i . x_j / width */
    float *table[TABLES];
    float *bias;    /* [columns]: c, or what centring takes away */
    double largest; /* eigenvalue of the products */
    double pull;    /* of the fit under way, as `centred` and the steps left */
    bool centred;
    size_t left;
};

static double of_power_method(exn_span *s) {
    const exn_f32_vector *vector = &s->kernels->f32_vector;
    float *v = s->table[AHEAD], *next = s->table[MOVED]; /* not used yet, and long enough */
    double length = 0;
    for (size_t i = 0; i < s->count; i++) v[i] = 1.0f;
    for (size_t round = 0; round < POWER_ROUNDS; round++) {
        const float sum = vector->reduce(EXN_REDUCE_SUM, s->count, v); /* the bias counts as one more feature */
        for (size_t i = 0; i < s->count; i++) next[i] = vector->dot(s->count, s->product + i * s->count, v) + sum;
        length = sqrt((double)vector->dot(s->count, next, next) / (double)vector->dot(s->count, v, v));
        const float inverse = (float)(1.0 / (length + 1e-30));
        vector->binary(EXN_MUL, s->count, next, 1, &inverse, 0, v);
    }
    return POWER_MARGIN * length;
}

static void multiply_samples(exn_span *s) {
    const exn_f32_vector *vector = &s->kernels->f32_vector;
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = 0; j <= i; j++) {
            const float dot = vector->dot(s->width, s->features + i * s->width, s->features + j * s->width);
            s->product[i * s->count + j] = s->product[j * s->count + i] = (float)((double)dot / (double)s->width);
        }
}

exn_status exn_span_create(exn_span **out, exn_context *ctx, const exn_kernel_set *kernels, const float *features,
                           size_t count, size_t width, size_t classes, size_t blocks) {
    if (!count || !width || !classes || !blocks) return exn_fail(ctx, EXN_E_INVALID, "nothing to learn from");
    exn_span *s = exn_calloc(ctx, 1, sizeof *s);
    if (!s) return EXN_E_NOMEM;
    *s = (exn_span){.ctx = ctx,
                    .kernels = kernels,
                    .features = features,
                    .count = count,
                    .width = width,
                    .classes = classes,
                    .blocks = blocks,
                    .columns = classes * blocks};
    size_t products, cells;
    exn_status status =
        exn_size_mul(&products, count, count) && exn_size_mul(&cells, count, s->columns) ? EXN_OK : EXN_E_NOMEM;
    if (status == EXN_OK) s->product = exn_malloc(ctx, products, sizeof(float));
    for (size_t t = 0; status == EXN_OK && t < TABLES; t++) {
        s->table[t] = exn_calloc(ctx, cells, sizeof(float));
        if (!s->table[t]) status = EXN_E_NOMEM;
    }
    if (status == EXN_OK) s->bias = exn_calloc(ctx, s->columns, sizeof(float));
    if (status == EXN_OK && (!s->product || !s->bias)) status = EXN_E_NOMEM;
    if (status != EXN_OK) {
        exn_span_destroy(s);
        return status;
    }
    multiply_samples(s);
    s->largest = of_power_method(s);
    *out = s;
    return EXN_OK;
}

void exn_span_destroy(exn_span *s) {
    if (!s) return;
    for (size_t t = 0; t < TABLES; t++) exn_free(s->ctx, s->table[t]);
    exn_free(s->ctx, s->product);
    exn_free(s->ctx, s->bias);
    exn_free(s->ctx, s);
}

static size_t cell(const exn_span *s, size_t block, size_t sample) {
    return sample * s->columns + block * s->classes;
}

float *exn_span_start(exn_span *s, size_t block, size_t sample) {
    return s->table[START] + cell(s, block, sample);
}

float *exn_span_target(exn_span *s, size_t block, size_t sample) {
    return s->table[TARGET] + cell(s, block, sample);
}

void exn_span_weigh(exn_span *s, size_t block, size_t sample, float weight) {
    float *row = s->table[WEIGHT] + cell(s, block, sample);
    for (size_t j = 0; j < s->classes; j++) row[j] = weight;
}

const float *exn_span_logits(const exn_span *s, size_t block, size_t sample) {
    return s->table[LOGITS] + cell(s, block, sample);
}

/* bias = -(weighted mean of the rows of LOGITS). */
static void average(exn_span *s) {
    const exn_f32_vector *vector = &s->kernels->f32_vector;
    float *weighted = s->table[SLOPE]; /* not in use now */
    const size_t cells = s->count * s->columns;
    const float minus = -1.0f;
    vector->binary(EXN_MUL, cells, s->table[LOGITS], 1, s->table[WEIGHT], 1, weighted);
    vector->reduce_columns(EXN_REDUCE_SUM, s->count, s->columns, weighted, (ptrdiff_t)s->columns, false, s->bias);
    vector->binary(EXN_MUL, s->columns, s->bias, 1, &minus, 0, s->bias);
}

/* LOGITS = START + what coefficients x say. Centred, x is brought to coefficients of the samples themselves first: APPLIED. */
static void look(exn_span *s, const float *x, bool centred) {
    const exn_f32_vector *vector = &s->kernels->f32_vector;
    const size_t n = s->columns, cells = s->count * n;
    float *applied = s->table[APPLIED], *logits = s->table[LOGITS];
    vector->reduce_columns(EXN_REDUCE_SUM, s->count, n, x, (ptrdiff_t)n, false, s->bias);
    for (size_t i = 0; i < s->count; i++) {
        if (!centred) break;
        vector->binary(EXN_MUL, n, s->table[WEIGHT] + i * n, 1, s->bias, 1, applied + i * n);
        vector->binary(EXN_SUB, n, x + i * n, 1, applied + i * n, 1, applied + i * n);
    }
    if (!centred) memcpy(applied, x, cells * sizeof *x);
    const exn_gemm gemm = {.tile = exn_gemm_choose(s->kernels, s->count, n, s->count),
                           .vector = vector,
                           .m = s->count,
                           .n = n,
                           .k = s->count,
                           .a_row = (ptrdiff_t)s->count,
                           .a_col = 1,
                           .b_row = (ptrdiff_t)n,
                           .c_row = (ptrdiff_t)n};
    exn_gemm_run(&gemm, s->product, applied, logits, NULL, exn_part_whole());
    if (centred) average(s);
    for (size_t i = 0; i < s->count; i++) vector->binary(EXN_ADD, n, logits + i * n, 1, s->bias, 1, logits + i * n);
    vector->binary(EXN_ADD, cells, logits, 1, s->table[START], 1, logits);
}

/* The largest weight a sample has in any block: no loss curves more than half of it times the largest eigenvalue. */
static double heaviest(const exn_span *s) {
    const size_t cells = s->count * s->columns;
    return (double)s->kernels->f32_vector.reduce(EXN_REDUCE_MAX, cells, s->table[WEIGHT]);
}

void exn_span_begin(exn_span *s, double pull, bool centred, size_t steps) {
    const size_t cells = s->count * s->columns;
    s->pull = pull;
    s->centred = centred;
    s->left = steps;
    memset(s->table[MOVED], 0, cells * sizeof(float));
    memset(s->table[AHEAD], 0, cells * sizeof(float));
}

bool exn_span_advance(exn_span *s, size_t steps) {
    const exn_f32_vector *vector = &s->kernels->f32_vector;
    const size_t cells = s->count * s->columns;
    const double curve = 0.5 * heaviest(s) * s->largest + s->pull, root = sqrt(s->pull / curve);
    const double ahead = (1.0 - root) / (1.0 + root);
    const float keep = (float)(1.0 - s->pull / curve), step = (float)(-1.0 / curve);
    const float forward = (float)(1.0 + ahead), back = (float)-ahead;
    float *slope = s->table[SLOPE];
    for (size_t i = 0; i < steps && s->left; i++, s->left--) {
        float *moved = s->table[MOVED], *y = s->table[AHEAD];
        look(s, y, s->centred);
        exn_softmax(vector, false, s->count * s->blocks, s->classes, 1, s->table[LOGITS], slope, exn_part_whole());
        vector->binary(EXN_SUB, cells, slope, 1, s->table[TARGET], 1, slope);
        vector->binary(EXN_MUL, cells, slope, 1, s->table[WEIGHT], 1, slope);
        vector->binary(EXN_MUL, cells, y, 1, &keep, 0, y);
        vector->axpy(cells, step, slope, y); /* y is where the step leads */
        vector->binary(EXN_MUL, cells, moved, 1, &back, 0, moved);
        vector->axpy(cells, forward, y, moved); /* moved is the point ahead */
        s->table[MOVED] = y;
        s->table[AHEAD] = moved;
    }
    return s->left > 0;
}

exn_status exn_span_end(exn_span *s) {
    look(s, s->table[MOVED], s->centred);
    for (size_t i = 0; i < s->count * s->columns; i++)
        if (!isfinite(s->table[LOGITS][i])) return exn_fail(s->ctx, EXN_E_INVALID, "training diverged");
    return EXN_OK;
}

void exn_span_exchange(exn_span *s, exn_archive *archive) {
    exn_archive_count(archive, &s->left, s->left);
    exn_archive_floats(archive, s->table[MOVED], s->count * s->columns);
    exn_archive_floats(archive, s->table[AHEAD], s->count * s->columns);
}

void exn_span_move(float *weight, float *bias, const exn_span *s, size_t block) {
    const exn_f32_vector *vector = &s->kernels->f32_vector;
    const double scale = 1.0 / (double)s->width; /* products have it, features have not */
    for (size_t i = 0; i < s->count; i++) {
        const float *a = s->table[APPLIED] + cell(s, block, i);
        for (size_t j = 0; j < s->classes; j++)
            vector->axpy(s->width, (float)((double)a[j] * scale), s->features + i * s->width, weight + j * s->width);
    }
    for (size_t j = 0; j < s->classes; j++) bias[j] += s->bias[block * s->classes + j];
}

size_t exn_span_bytes(size_t count, size_t classes, size_t blocks) {
    return count * (count + TABLES * classes * blocks) * sizeof(float);
}

uint64_t exn_span_macs(size_t count, size_t classes, size_t blocks, size_t steps) {
    return (uint64_t)count * count * classes * blocks * (steps + 1);
}
