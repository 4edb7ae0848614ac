/* SPDX-License-Identifier: Apache-2.0
 * k x k convolution: the kernel rows of an output row are segments of one matrix product over a strip of padded rows.
 *
 * In a strip, the kw*c inputs of an output pixel's kernel row are contiguous, the next pixel is stride_w*c further and
 * the next kernel row dilation_h strip rows further: a_row, a_segment. Where no padding is met, the input itself is
 * such a strip. With several groups, or dilation along w, pixels are gathered first. */
#include "kernels/block.h"
#include "kernels/conv_parts.h"
#include "kernels/gemm.h"
#include "kernels/strip.h"

/* What the loops need to know, worked out once a call. */
typedef struct layout {
    const exn_conv_shape *s;
    size_t cg, columns; /* channels and outputs of a group */
    bool expand;        /* taps of a kernel row are gathered side by side */
    bool borrow;        /* rows within the image need no copy */
    size_t pitch;       /* floats of a strip row */
    size_t rows_at_once;
} layout;

static size_t strip_rows(const exn_conv_shape *s, size_t output_rows) {
    return exn_strip_span(output_rows, s->kh, s->stride_h, s->dilation_h);
}

static layout layout_of(const exn_conv *conv) {
    const exn_conv_shape *s = &conv->shape;
    layout l = {.s = s, .cg = s->c / s->groups, .columns = s->oc / s->groups};
    l.expand = s->kw > 1 && s->dilation_w > 1;
    const size_t span = exn_strip_span(s->ow, s->kw, s->stride_w, s->dilation_w);
    const bool inside = s->pad_left == 0 && span <= s->w;
    l.borrow = inside && !l.expand && (s->groups == 1 || s->kw == 1);
    l.pitch = (l.expand ? s->ow * s->kw : span) * l.cg;
    l.rows_at_once = 1;
    while (l.rows_at_once < s->oh && strip_rows(s, l.rows_at_once + 1) * l.pitch * sizeof(float) <= EXN_BLOCK_L2_BYTES)
        l.rows_at_once++;
    return l;
}

size_t exn_conv_strips_workspace_bytes(const exn_conv *conv) {
    const layout l = layout_of(conv);
    return strip_rows(l.s, l.rows_at_once) * l.pitch * sizeof(float);
}

/* Points the block at rows y .. of group g: at the input itself or at a fresh strip. Returns A's first element. */
static const float *prepare_rows(exn_gemm_block *block, const layout *l, const float *image, float *strip, size_t y,
                                 size_t rows, size_t g) {
    const exn_conv_shape *s = l->s;
    const ptrdiff_t first_row = (ptrdiff_t)(y * s->stride_h) - (ptrdiff_t)s->pad_top;
    const size_t needed = strip_rows(s, rows);
    if (l->borrow && first_row >= 0 && (size_t)first_row + needed <= s->h) {
        const size_t pitch = s->w * s->c;
        block->a_line = (ptrdiff_t)(s->stride_h * pitch);
        block->a_segment = (ptrdiff_t)(s->dilation_h * pitch);
        block->a_row = (ptrdiff_t)(s->stride_w * s->c);
        return image + (size_t)first_row * pitch + g * l->cg;
    }
    const exn_strip window = {.first_row = first_row,
                              .first_pixel = -(ptrdiff_t)s->pad_left,
                              .rows = needed,
                              .pixels = l->expand ? s->ow : l->pitch / l->cg,
                              .channel = g * l->cg,
                              .channels = l->cg};
    if (l->expand)
        exn_strip_expand(strip, &window, image, s->h, s->w, s->c, s->kw, s->stride_w, s->dilation_w);
    else
        exn_strip_copy(strip, &window, image, s->h, s->w, s->c);
    block->a_line = (ptrdiff_t)(s->stride_h * l->pitch);
    block->a_segment = (ptrdiff_t)(s->dilation_h * l->pitch);
    block->a_row = (ptrdiff_t)((l->expand ? s->kw : s->stride_w) * l->cg);
    return strip;
}

/* A part's share: output rows (of all images) or columns of one group, or groups. */
typedef struct share {
    size_t row0, row1, column0, column1, group0, group1;
} share;

static share share_of(const exn_conv *conv, const layout *l, exn_part part) {
    const exn_conv_shape *s = l->s;
    share mine = {0, s->n * s->oh, 0, l->columns, 0, s->groups};
    const size_t columns = s->groups > 1 ? s->groups : exn_panels(conv->tile, l->columns);
    if (mine.row1 >= 8 * part.count || exn_split_major(mine.row1, columns, part.count))
        exn_part_range(&mine.row0, &mine.row1, part, mine.row1, 1);
    else if (s->groups > 1)
        exn_part_range(&mine.group0, &mine.group1, part, s->groups, 1);
    else
        exn_part_range(&mine.column0, &mine.column1, part, l->columns, conv->tile->nr);
    return mine;
}

/* `rows` output rows from row y of image n. */
static void run_rows(const exn_conv *conv, const layout *l, const exn_conv_operands *operands, const share *mine,
                     size_t n, size_t y, size_t rows) {
    const exn_conv_shape *s = l->s;
    const size_t first = mine->column0, chain = s->kh * s->kw * l->cg;
    const size_t group_count = exn_gemm_packed_count(conv->tile, l->columns, chain);
    const ptrdiff_t pitch = (ptrdiff_t)conv->out_pitch, line = (ptrdiff_t)s->ow * pitch;
    exn_gemm_block block = {
        .tile = conv->tile,
        .vector = conv->vector,
        .lines = rows,
        .m = s->ow,
        .n = mine->column1 - first,
        .k = s->kw * l->cg,
        .segments = s->kh,
        .a_col = 1,
        .packed = true,
        .c_line = line,
        .c_row = pitch,
        .residual_line = line,
        .e = {.residual_row = pitch, .activation = conv->activation, .lo = conv->lo, .hi = conv->hi}};
    const float *const image = operands->in + n * s->h * s->w * s->c;
    const size_t row_at = (n * s->oh + y) * s->ow * conv->out_pitch;
    for (size_t g = mine->group0; g < mine->group1; g++) {
        const size_t at = row_at + g * l->columns + first;
        const float *const a = prepare_rows(&block, l, image, operands->workspace, y, rows, g);
        const float *const b =
            operands->packed + g * group_count + first / conv->tile->nr * exn_panel_count(conv->tile, chain);
        block.e.residual = operands->residual ? operands->residual + at : NULL;
        exn_gemm_block_run(&block, a, b, operands->out + at);
    }
    const size_t columns = (mine->group1 - mine->group0) * block.n;
    exn_activate_late(conv->vector, &block.e, rows * s->ow, columns,
                      operands->out + row_at + mine->group0 * l->columns + first, pitch);
}

void exn_conv_strips_run(const exn_conv *conv, const exn_conv_operands *operands, exn_part part) {
    const layout l = layout_of(conv);
    const share mine = share_of(conv, &l, part);
    if (mine.column0 >= mine.column1 || mine.group0 >= mine.group1 || l.s->ow == 0) return;
    for (size_t row = mine.row0; row < mine.row1;) {
        const size_t n = row / l.s->oh, y = row % l.s->oh;
        const size_t rows = exn_min(exn_min(l.rows_at_once, l.s->oh - y), mine.row1 - row);
        run_rows(conv, &l, operands, &mine, n, y, rows);
        row += rows;
    }
}
