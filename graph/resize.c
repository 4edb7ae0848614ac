/* SPDX-License-Identifier: Apache-2.0
 * Resizing: one table of integer weights an axis, columns first, then rows. */
#include "graph/resize.h"

#include <math.h>

#define WEIGHT_BITS 22

/* For each result position: the first source position and its weights, which sum to about 1 << WEIGHT_BITS. */
typedef struct exn_axis {
    size_t *first, *taps;
    int32_t *weight; /* [position][stride] */
    size_t stride, count;
    size_t first_capacity, taps_capacity, weight_capacity;
} exn_axis;

struct exn_resizer {
    exn_context *ctx;
    exn_axis columns, rows;
    uint8_t *gray, *narrow, *result; /* luma; columns done; both done */
    size_t gray_capacity, narrow_capacity, result_capacity;
};

exn_status exn_resizer_create(exn_resizer **out, exn_context *ctx) {
    exn_resizer *resizer = exn_calloc(ctx, 1, sizeof *resizer);
    if (!resizer) return EXN_E_NOMEM;
    resizer->ctx = ctx;
    *out = resizer;
    return EXN_OK;
}

exn_context *exn_resizer_context(const exn_resizer *resizer) {
    return resizer->ctx;
}

static void free_axis(exn_context *ctx, exn_axis *axis) {
    exn_free(ctx, axis->first);
    exn_free(ctx, axis->taps);
    exn_free(ctx, axis->weight);
}

void exn_resizer_destroy(exn_resizer *resizer) {
    if (!resizer) return;
    exn_context *ctx = resizer->ctx;
    free_axis(ctx, &resizer->columns);
    free_axis(ctx, &resizer->rows);
    exn_free(ctx, resizer->gray);
    exn_free(ctx, resizer->narrow);
    exn_free(ctx, resizer->result);
    exn_free(ctx, resizer);
}

static exn_status grow_bytes(exn_context *ctx, uint8_t **bytes, size_t *capacity, size_t wanted) {
    void *block = *bytes;
    const exn_status status = exn_grow(ctx, &block, capacity, wanted, 1);
    *bytes = block;
    return status;
}

static exn_status grow_axis(exn_context *ctx, exn_axis *axis, size_t count, size_t stride) {
    size_t weights;
    if (!exn_size_mul(&weights, count, stride)) return exn_fail(ctx, EXN_E_INVALID, "image: too large");
    void *first = axis->first, *taps = axis->taps, *weight = axis->weight;
    exn_status status = exn_grow(ctx, &first, &axis->first_capacity, count, sizeof *axis->first);
    if (status == EXN_OK) status = exn_grow(ctx, &taps, &axis->taps_capacity, count, sizeof *axis->taps);
    if (status == EXN_OK) status = exn_grow(ctx, &weight, &axis->weight_capacity, weights, sizeof *axis->weight);
    axis->first = first;
    axis->taps = taps;
    axis->weight = weight;
    axis->stride = stride;
    axis->count = count;
    return status;
}

static double triangle(double x) {
    const double distance = fabs(x);
    return distance < 1.0 ? 1.0 - distance : 0.0;
}

/* Weights of one position, normalised to sum 1 in double, then rounded to integers half away from zero. */
static void weigh_position(exn_axis *axis, size_t at, double center, double support, size_t in) {
    const double low = center - support + 0.5, high = center + support + 0.5;
    const size_t first = low > 0.0 ? (size_t)low : 0, end = high < (double)in ? (size_t)high : in;
    double sum = 0.0;
    for (size_t i = first; i < end; i++) sum += triangle(((double)i - center + 0.5) * (1.0 / support));
    int32_t *weight = axis->weight + at * axis->stride;
    for (size_t i = first; i < end; i++) {
        double share = triangle(((double)i - center + 0.5) * (1.0 / support));
        if (sum != 0.0) share /= sum;
        weight[i - first] = (int32_t)(0.5 + share * (double)(1 << WEIGHT_BITS));
    }
    axis->first[at] = first;
    axis->taps[at] = end - first;
}

/* Positions begin .. begin + count - 1 of an axis that goes from `in` to `out` pixels. */
static exn_status prepare_axis(exn_axis *axis, exn_context *ctx, size_t in, size_t out, size_t begin, size_t count) {
    const double scale = (double)in / (double)out, support = scale > 1.0 ? scale : 1.0;
    EXN_TRY(grow_axis(ctx, axis, count, 2 * (size_t)ceil(support) + 1));
    for (size_t i = 0; i < count; i++) weigh_position(axis, i, ((double)(begin + i) + 0.5) * scale, support, in);
    return EXN_OK;
}

static uint8_t to_byte(int64_t sum) {
    const int64_t value = sum >> WEIGHT_BITS;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

static void filter_row(uint8_t *out, const uint8_t *row, const exn_axis *columns, size_t channels) {
    for (size_t x = 0; x < columns->count; x++) {
        const int32_t *weight = columns->weight + x * columns->stride;
        const uint8_t *from = row + columns->first[x] * channels;
        for (size_t c = 0; c < channels; c++) {
            int64_t sum = 1 << (WEIGHT_BITS - 1);
            for (size_t i = 0; i < columns->taps[x]; i++) sum += (int64_t)from[i * channels + c] * weight[i];
            *out++ = to_byte(sum);
        }
    }
}

static void filter_columns(uint8_t *out, const uint8_t *rows, size_t row_bytes, const exn_axis *axis, size_t skipped) {
    for (size_t y = 0; y < axis->count; y++) {
        const int32_t *weight = axis->weight + y * axis->stride;
        const uint8_t *from = rows + (axis->first[y] - skipped) * row_bytes;
        for (size_t x = 0; x < row_bytes; x++) {
            int64_t sum = 1 << (WEIGHT_BITS - 1);
            for (size_t i = 0; i < axis->taps[y]; i++) sum += (int64_t)from[i * row_bytes + x] * weight[i];
            *out++ = to_byte(sum);
        }
    }
}

exn_status exn_resizer_run(const uint8_t **out, exn_resizer *resizer, const exn_image *image,
                           const exn_resize *resize) {
    exn_context *ctx = resizer->ctx;
    exn_axis *columns = &resizer->columns, *rows = &resizer->rows;
    EXN_TRY(prepare_axis(columns, ctx, image->width, resize->width, resize->left, resize->crop_width));
    EXN_TRY(prepare_axis(rows, ctx, image->height, resize->height, resize->top, resize->crop_height));
    const size_t last = rows->count - 1, begin = rows->first[0], end = rows->first[last] + rows->taps[last];
    const size_t row_bytes = columns->count * image->channels;
    size_t narrow, result;
    if (!exn_size_mul(&narrow, end - begin, row_bytes) || !exn_size_mul(&result, rows->count, row_bytes))
        return exn_fail(ctx, EXN_E_INVALID, "image: too large");
    EXN_TRY(grow_bytes(ctx, &resizer->narrow, &resizer->narrow_capacity, narrow));
    EXN_TRY(grow_bytes(ctx, &resizer->result, &resizer->result_capacity, result));
    const size_t pitch = image->row_bytes ? image->row_bytes : image->width * image->channels;
    for (size_t y = begin; y < end; y++)
        filter_row(resizer->narrow + (y - begin) * row_bytes, image->pixels + y * pitch, columns, image->channels);
    filter_columns(resizer->result, resizer->narrow, row_bytes, rows, begin);
    *out = resizer->result;
    return EXN_OK;
}

exn_status exn_resizer_gray(exn_image *out, exn_resizer *resizer, const exn_image *image) {
    size_t bytes;
    if (!exn_size_mul(&bytes, image->width, image->height))
        return exn_fail(resizer->ctx, EXN_E_INVALID, "image: too large");
    EXN_TRY(grow_bytes(resizer->ctx, &resizer->gray, &resizer->gray_capacity, bytes));
    const size_t pitch = image->row_bytes ? image->row_bytes : image->width * 3;
    for (size_t y = 0; y < image->height; y++) {
        const uint8_t *p = image->pixels + y * pitch;
        for (size_t x = 0; x < image->width; x++, p += 3)
            resizer->gray[y * image->width + x] =
                (uint8_t)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
    }
    *out = (exn_image){.pixels = resizer->gray, .width = image->width, .height = image->height, .channels = 1};
    return EXN_OK;
}
