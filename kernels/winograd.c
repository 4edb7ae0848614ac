/* SPDX-License-Identifier: Apache-2.0
 * 3x3 convolution by Winograd's minimal filtering: blocks of tiles are transformed, multiplied position by position,
 * and transformed back, all within the second-level cache. Not exact in the sense of K6 (the sums are others), but every
 * output is still made in one order, whatever the blocks and threads. */
#include "kernels/winograd.h"

#include "kernels/block.h"
#include "kernels/conv_parts.h"
#include "kernels/gemm.h"

/* Transformed inputs and products of a block: beside the weights that stream past, they should stay in the second-level
 * cache. */
#define EXN_WINOGRAD_BYTES EXN_BLOCK_L2_BYTES
/* Output channels of a group: a few panels, so that the products of a block stay near. */
#define EXN_WINOGRAD_GROUP 64u
/* Positions lie this much further apart than they need: at a multiple of 4096 bytes all would fall into one cache set. */
#define EXN_WINOGRAD_SKEW 16u
/* A part with fewer tiles than this reads weights more than it multiplies. */
#define EXN_WINOGRAD_LEAST_TILES 16u

exn_winograd_layout exn_winograd_layout_of(const exn_conv *conv) {
    const exn_conv_shape *s = &conv->shape;
    exn_winograd_layout l = {.outputs = conv->winograd->outputs};
    l.positions = (l.outputs + 2) * (l.outputs + 2);
    l.down = exn_ceil_div(s->oh, l.outputs);
    l.across = exn_ceil_div(s->ow, l.outputs);
    l.tiles = s->n * l.down * l.across;
    l.group = exn_min(exn_ceil_div(EXN_WINOGRAD_GROUP, conv->tile->nr), exn_panels(conv->tile, s->oc)) * conv->tile->nr;
    const size_t tile_bytes = l.positions * (s->c + l.group) * sizeof(float);
    l.block = exn_max(exn_min(l.tiles, EXN_WINOGRAD_BYTES / tile_bytes), EXN_WINOGRAD_LEAST_TILES);
    l.bias_count = exn_ceil_div(s->oc, EXN_WINOGRAD_SKEW) * EXN_WINOGRAD_SKEW;
    l.in_pitch = l.block * s->c + EXN_WINOGRAD_SKEW;
    l.out_pitch = l.block * l.group + EXN_WINOGRAD_SKEW;
    return l;
}

size_t exn_winograd_columns(const exn_winograd_layout *l, const exn_conv *conv, size_t column) {
    return exn_min(l->group, conv->shape.oc - column);
}

size_t exn_winograd_panels_at(const exn_winograd_layout *l, const exn_conv *conv, size_t column, size_t position) {
    const size_t panels = exn_panels(conv->tile, exn_winograd_columns(l, conv, column));
    const size_t before = column / conv->tile->nr * l->positions + position * panels;
    return l->bias_count + before * exn_panel_count(conv->tile, conv->shape.c);
}

bool exn_conv_takes_winograd(const exn_conv_shape *s) {
    return s->groups == 1 && s->kh == 3 && s->kw == 3 && s->stride_h == 1 && s->stride_w == 1 && s->dilation_h == 1 &&
           s->dilation_w == 1 && s->c > 0 && s->oc > 0 && s->n > 0 && s->oh > 0 && s->ow > 0;
}

void exn_conv_prepare_winograd(exn_conv *out, const exn_kernel_set *set, const exn_conv_shape *shape, size_t outputs,
                               exn_activation activation, float lo, float hi) {
    const exn_f32_winograd *winograd = &set->f32_winograd[outputs == 4];
    *out = (exn_conv){.shape = *shape,
                      .algorithm = EXN_CONV_WINOGRAD,
                      .winograd = winograd,
                      .tile = &set->f32_gemm[0],
                      .vector = &set->f32_vector,
                      .out_pitch = shape->oc,
                      .activation = activation,
                      .lo = lo,
                      .hi = hi};
    out->tile = exn_gemm_choose(set, exn_winograd_layout_of(out).block, shape->oc, shape->c);
    const exn_winograd_layout l = exn_winograd_layout_of(out);
    out->packed_count = l.bias_count + l.positions * exn_gemm_packed_count(out->tile, shape->oc, shape->c);
    out->workspace_bytes = l.positions * (l.in_pitch + l.out_pitch) * sizeof(float);
}

/* What the loops share. */
typedef struct work {
    const exn_conv *conv;
    const exn_conv_operands *operands;
    exn_winograd_layout l;
    float *inputs, *products;
    size_t tile0, tile1; /* the block */
} work;

/* The tiles from `tile` on that lie side by side in one image, at most up to `end`; sets the image's number. */
static exn_winograd_tiles run_from(const work *w, size_t tile, size_t end, size_t *image) {
    const size_t row = tile / w->l.across, x = tile % w->l.across;
    *image = row / w->l.down;
    return (exn_winograd_tiles){.tiles = exn_min(w->l.across - x, end - tile),
                                .y = (ptrdiff_t)(row % w->l.down * w->l.outputs),
                                .x = (ptrdiff_t)(x * w->l.outputs)};
}

static void transform_inputs(const work *w) {
    const exn_conv_shape *s = &w->conv->shape;
    for (size_t tile = w->tile0; tile < w->tile1;) {
        size_t image;
        exn_winograd_tiles run = run_from(w, tile, w->tile1, &image);
        run.channels = s->c, run.h = s->h, run.w = s->w;
        run.pixel = (ptrdiff_t)s->c, run.row = (ptrdiff_t)(s->w * s->c);
        run.y -= (ptrdiff_t)s->pad_top, run.x -= (ptrdiff_t)s->pad_left;
        run.position = (ptrdiff_t)w->l.in_pitch, run.tile = (ptrdiff_t)s->c;
        w->conv->winograd->in(&run, w->operands->in + image * s->h * s->w * s->c, w->inputs + (tile - w->tile0) * s->c);
        tile += run.tiles;
    }
}

static void multiply(const work *w, size_t column, size_t columns) {
    const size_t c = w->conv->shape.c, nr = w->conv->tile->nr;
    const size_t panels = exn_gemm_packed_count(w->conv->tile, columns, c);
    const bool last_group = column + columns == w->conv->shape.oc;
    const float *b = w->operands->packed + exn_winograd_panels_at(&w->l, w->conv, column, 0);
    exn_gemm_block block = {.tile = w->conv->tile,
                            .vector = w->conv->vector,
                            .lines = 1,
                            .m = w->tile1 - w->tile0,
                            .n = columns,
                            .k = c,
                            .segments = 1,
                            .a_row = (ptrdiff_t)c,
                            .a_col = 1,
                            .packed = true,
                            .c_row = (ptrdiff_t)columns};
    for (size_t p = 0; p < w->l.positions; p++, b += panels) {
        block.after = p + 1 < w->l.positions || !last_group ? b + panels + nr : NULL;
        exn_gemm_block_run(&block, w->inputs + p * w->l.in_pitch, b, w->products + p * w->l.out_pitch);
    }
}

/* Activations that the transform leaves to drivers, on the pixels that a run of tiles made. */
static void activate(const work *w, const exn_winograd_tiles *run, const exn_epilogue *e, float *image) {
    if (e->activation == EXN_ACT_NONE || e->activation == EXN_ACT_CLAMP) return;
    const size_t y = (size_t)run->y, x = (size_t)run->x;
    const size_t rows = exn_min(w->l.outputs, run->h - y), pixels = exn_min(run->tiles * w->l.outputs, run->w - x);
    for (size_t i = 0; i < rows; i++)
        exn_activate_late(w->conv->vector, e, pixels, run->channels,
                          image + (run->y + (ptrdiff_t)i) * run->row + run->x * run->pixel, run->pixel);
}

static void transform_outputs(const work *w, size_t column, size_t columns) {
    const exn_conv *conv = w->conv;
    const exn_conv_shape *s = &conv->shape;
    const exn_epilogue late = {.activation = conv->activation, .lo = conv->lo, .hi = conv->hi};
    for (size_t tile = w->tile0; tile < w->tile1;) {
        size_t n;
        exn_winograd_tiles run = run_from(w, tile, w->tile1, &n);
        run.channels = columns, run.h = s->oh, run.w = s->ow;
        run.pixel = (ptrdiff_t)conv->out_pitch, run.row = (ptrdiff_t)(s->ow * conv->out_pitch);
        run.position = (ptrdiff_t)w->l.out_pitch, run.tile = (ptrdiff_t)columns;
        const size_t at = n * s->oh * s->ow * conv->out_pitch + column;
        exn_epilogue e = late;
        if (e.activation != EXN_ACT_CLAMP) e.activation = EXN_ACT_NONE;
        e.residual = w->operands->residual ? w->operands->residual + at : NULL;
        conv->winograd->out(&run, w->products + (tile - w->tile0) * columns, w->operands->packed + column,
                            w->operands->out + at, &e);
        activate(w, &run, &late, w->operands->out + at);
        tile += run.tiles;
    }
}

void exn_conv_winograd_run(const exn_conv *conv, const exn_conv_operands *operands, exn_part part) {
    work w = {.conv = conv, .operands = operands, .l = exn_winograd_layout_of(conv), .inputs = operands->workspace};
    w.products = w.inputs + w.l.positions * w.l.in_pitch;
    size_t first = 0, last = w.l.tiles, column0 = 0, column1 = conv->shape.oc;
    /* Few tiles: every part transforms all inputs and reads its own weights only. */
    if (w.l.tiles >= EXN_WINOGRAD_LEAST_TILES * part.count || column1 <= w.l.group)
        exn_part_range(&first, &last, part, w.l.tiles, 1);
    else
        exn_part_range(&column0, &column1, part, column1, w.l.group);
    if (first >= last || column0 >= column1) return;
    const size_t blocks = exn_ceil_div(last - first, w.l.block), step = exn_ceil_div(last - first, blocks);
    for (w.tile0 = first; w.tile0 < last; w.tile0 = w.tile1) {
        w.tile1 = exn_min(w.tile0 + step, last);
        transform_inputs(&w);
        for (size_t column = column0; column < column1; column += w.l.group) {
            const size_t columns = exn_winograd_columns(&w.l, conv, column);
            multiply(&w, column, columns);
            transform_outputs(&w, column, columns);
        }
    }
}
