/* SPDX-License-Identifier: Apache-2.0
 * Blocks of convolutions in strips of rows. */
#include "graph/strips.h"

/* A strip of both maps stays within half of a usual second-level cache. */
#define STRIP_BYTES ((size_t)448 * 1024)
/* Smaller maps are in that cache anyway. */
#define WORTH_BYTES ((size_t)1024 * 1024)
/* Weights are read once a strip. */
#define WEIGHT_BYTES ((size_t)256 * 1024)
#define ROWS_MAX 16u
#define STRIPS_MIN 4u

size_t exn_strip_input_rows(const exn_conv_shape *s, size_t rows) {
    return rows == 0 ? 0 : (rows - 1) * s->stride_h + (s->kh - 1) * s->dilation_h + 1;
}

static size_t row_bytes(const exn_conv_shape *s) {
    return s->w * s->c * sizeof(float);
}

/* Workspace for `rows` output rows: the depthwise convolution's input, where a stage makes it, and its output. */
static size_t strip_bytes(const exn_conv_shape *deep, const exn_conv_shape *last, size_t rows, bool has_first) {
    const size_t wide = has_first ? exn_round_up(exn_strip_input_rows(deep, rows) * row_bytes(deep)) : 0;
    return wide + exn_round_up(rows * row_bytes(last));
}

/* As many rows as fit; a little fewer where the strips then come out even over one, two and four threads. */
static size_t choose_rows(const exn_conv_shape *deep, const exn_conv_shape *last, bool has_first) {
    size_t most = 1;
    while (most < ROWS_MAX && most < deep->oh && strip_bytes(deep, last, most + 1, has_first) <= STRIP_BYTES) most++;
    for (size_t share = 4; share >= 1; share /= 2)
        for (size_t rows = most; 2 * rows > most; rows--)
            if (deep->oh % (share * rows) == 0) return rows;
    return most;
}

/* Prepares a convolution for strips of up to `rows` output rows; *workspace grows to what any of them needs. */
static void prepare_stage(exn_conv *out, size_t *workspace, const exn_kernel_set *set, const exn_strip_stage *stage,
                          size_t rows) {
    exn_conv_shape shape = stage->shape;
    for (shape.oh = 1; shape.oh <= rows; shape.oh++) { /* a shorter strip may want more */
        shape.h = exn_strip_input_rows(&shape, shape.oh);
        exn_conv_prepare(out, set, &shape, stage->activation, stage->lo, stage->hi);
        if (out->workspace_bytes > *workspace) *workspace = out->workspace_bytes;
    }
}

void exn_strip_source_prepare(exn_strip_source *out, size_t *workspace, const exn_kernel_set *set,
                              const exn_strip_stage *stage, size_t ring) {
    *out = (exn_strip_source){.h = stage->shape.h, .pad_top = stage->shape.pad_top, .ring = ring};
    prepare_stage(&out->conv, workspace, set, stage, ring);
}

size_t exn_strip_source_bytes(const exn_strip_source *source) {
    const exn_conv_shape *s = &source->conv.shape;
    return source->ring * s->ow * s->oc * sizeof(float);
}

static bool worth_it(const exn_conv_shape *deep, const exn_conv_shape *last, bool has_first) {
    const size_t maps = (has_first ? deep->h * row_bytes(deep) : 0) + last->h * row_bytes(last);
    return maps > WORTH_BYTES;
}

bool exn_strips_prepare(exn_strips *out, const exn_kernel_set *set, const exn_strip_stage *first,
                        const exn_strip_stage *depthwise, const exn_strip_stage *last) {
    const exn_conv_shape *deep = &depthwise->shape;
    if (deep->n == 0 || deep->oh == 0 || !worth_it(deep, &last->shape, first != NULL)) return false;
    exn_strips s = {.has_first = first != NULL, .images = deep->n, .total_rows = deep->oh};
    s.rows = choose_rows(deep, &last->shape, s.has_first);
    if (s.total_rows < STRIPS_MIN * s.rows) return false;
    size_t workspace = 0;
    if (first) exn_strip_source_prepare(&s.first, &workspace, set, first, exn_strip_input_rows(deep, s.rows));
    prepare_stage(&s.depthwise, &workspace, set, depthwise, s.rows);
    prepare_stage(&s.last, &workspace, set, last, s.rows);
    if ((s.first.conv.packed_count + s.last.packed_count) * sizeof(float) > WEIGHT_BYTES) return false;
    s.h = deep->h;
    s.pad_top = deep->pad_top;
    s.depthwise.ring = s.first.ring;
    s.ring_at = exn_round_up(workspace);
    s.narrow_at = s.ring_at + (first ? exn_round_up(exn_strip_source_bytes(&s.first)) : 0);
    s.workspace_bytes = s.narrow_at + exn_round_up(s.rows * row_bytes(&last->shape));
    *out = s;
    return true;
}

exn_rows exn_strip_rows_read(size_t *above, const exn_conv_shape *s, size_t h, size_t pad_top, exn_rows wanted) {
    const size_t begin = wanted.begin * s->stride_h, end = begin + exn_strip_input_rows(s, wanted.end - wanted.begin);
    *above = begin < pad_top ? pad_top - begin : 0;
    const size_t first = begin < pad_top ? 0 : begin - pad_top, last = end < pad_top ? 0 : end - pad_top;
    return (exn_rows){first < h ? first : h, last < h ? last : h};
}

/* Output rows `wanted` of one image into `out`, from a map of `h` rows whose first is at `in`, or in the convolution's
 * ring. */
static void run_stage(const exn_conv *conv, const float *weights, size_t h, size_t pad_top, exn_rows wanted,
                      const float *in, float *out, const float *residual, void *workspace) {
    exn_conv strip = *conv;
    const exn_rows read = exn_strip_rows_read(&strip.shape.pad_top, &conv->shape, h, pad_top, wanted);
    strip.shape.n = 1;
    strip.shape.oh = wanted.end - wanted.begin;
    strip.shape.h = read.end - read.begin;
    if (conv->ring)
        strip.first = read.begin % conv->ring;
    else
        in += read.begin * conv->shape.w * conv->shape.c;
    exn_conv_run(&strip, weights, in, out, residual, workspace, exn_part_whole());
}

void exn_strip_source_fill(const exn_strip_source *source, exn_rows *held, exn_rows wanted, const float *image,
                           float *ring, void *workspace) {
    const exn_conv_shape *s = &source->conv.shape;
    const bool follows = wanted.begin >= held->begin && wanted.begin < held->end;
    for (exn_rows rows = {follows ? held->end : wanted.begin, 0}; rows.begin < wanted.end; rows.begin = rows.end) {
        const size_t at = rows.begin % source->ring, left = source->ring - at;
        rows.end = wanted.end - rows.begin < left ? wanted.end : rows.begin + left;
        run_stage(&source->conv, source->weights, source->h, source->pad_top, rows, image, ring + at * s->ow * s->oc,
                  NULL, workspace);
    }
    *held = wanted;
}

void exn_strips_run(const exn_strips *s, const float *in, float *out, const float *residual, void *workspace,
                    exn_part part) {
    const exn_conv_shape *source = s->has_first ? &s->first.conv.shape : &s->depthwise.shape;
    const size_t image = (s->has_first ? s->first.h : s->h) * source->w * source->c;
    const size_t out_row = s->last.shape.ow * s->last.shape.oc;
    const size_t strips = (s->total_rows + s->rows - 1) / s->rows;
    unsigned char *base = workspace;
    float *ring = (float *)(void *)(base + s->ring_at), *narrow = (float *)(void *)(base + s->narrow_at);
    exn_rows held = {0, 0};
    size_t begin, end;
    exn_part_range(&begin, &end, part, s->images * strips, 1);
    for (size_t i = begin; i < end; i++) {
        const size_t n = i / strips, y = i % strips * s->rows;
        const exn_rows wanted = {y, y + s->rows < s->total_rows ? y + s->rows : s->total_rows};
        const float *deep = in + n * image;
        if (s->has_first) {
            size_t above;
            if (y == 0) held = (exn_rows){0, 0}; /* another image */
            const exn_rows read = exn_strip_rows_read(&above, &s->depthwise.shape, s->h, s->pad_top, wanted);
            exn_strip_source_fill(&s->first, &held, read, deep, ring, workspace);
            deep = ring;
        }
        run_stage(&s->depthwise, s->depthwise_weights, s->h, s->pad_top, wanted, deep, narrow, NULL, workspace);
        const exn_rows here = {0, wanted.end - wanted.begin};
        const size_t at = (n * s->total_rows + y) * out_row;
        run_stage(&s->last, s->last_weights, here.end, 0, here, narrow, out + at, residual ? residual + at : NULL,
                  workspace);
    }
}
