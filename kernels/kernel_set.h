/* SPDX-License-Identifier: Apache-2.0
 * What portable code asks of an instruction set. Clauses K1..K8, each tested by kcheck under the same number; the
 * pictures are in kernels/README.md.
 *
 * K1 layout      A is read as a[i*a_row + p*a_col + s*a_segment], B as b[(s*k + p)*b_row + j], C as c[i*c_row + j].
 *                Depthwise weights: panels of `channels` channels, each [bias][tap][channel], see exn_f32_dwconv_fn.
 * K2 partial     The kernel itself handles m <= mr and n <= nr, and any number of pixels and channels.
 * K3 bounds      It reads and writes exactly what the arguments say: no over-read, ever.
 * K4 alignment   Only that of float. Packed panels start on EXN_ALIGNMENT where nr or channels allow it.
 * K5 C           Never read unless accumulating.
 * K6 arithmetic  Every output is one chain of fused multiply-adds that starts from bias, from C when accumulating, else
 *                from +0, and ascends over (segment, k); then the residual is added; then the activation. For
 *                convolutions k ascends over (ky, kx, c), padding taps multiplied as zeros. Row reductions: 16 partial
 *                results, lane i taking elements i, i+16, ... in order, then the tree 8, 4, 2, 1 (lane i with lane i+8,
 *                ...). Column reductions ascend over rows. So every set with fused multiply-add gives the same bits,
 *                whatever its tiles. `scalar` multiplies, rounds, adds, and is held to an error bound.
 *                Winograd transforms: one rounding an operation, in the order that generic.c writes down.
 * K7 environment No globals, no allocation, rounding mode and flush modes untouched, NaN and Inf propagate.
 * K8 empty       Sizes of zero are legal: k == 0 stores epilogue(bias). */
#ifndef EXN_KERNELS_KERNEL_SET_H
#define EXN_KERNELS_KERNEL_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest register tile any set may use: bounds stack tiles and tests. */
#define EXN_MR_MAX 32u
#define EXN_NR_MAX 128u
#define EXN_GEMM_TILES 4u
/* Lanes of the row-reduction tree of K6. */
#define EXN_REDUCE_LANES 16u

typedef enum exn_activation {
    EXN_ACT_NONE = 0,
    EXN_ACT_CLAMP,        /* x < lo ? lo : x > hi ? hi : x, so NaN and -0 pass; ReLU is lo 0, hi +Inf */
    EXN_ACT_LEAKY_RELU,   /* x < 0 ? alpha*x : x; alpha is `lo` */
    EXN_ACT_HARD_SIGMOID, /* clamp(fma(lo, x, hi), 0, 1): alpha is `lo`, beta is `hi` */
    EXN_ACT_HARD_SWISH,   /* x * clamp(fma(1/6, x, 1/2), 0, 1) */
    EXN_ACT_SIGMOID,      /* 1 / (1 + exp(0 - x)) */
    EXN_ACT_TANH,
    EXN_ACT_SILU, /* x * sigmoid(x) */
    EXN_ACT_EXP,
    EXN_ACT_LOG,
    EXN_ACT_COUNT, /* of those that a set supplies. The others are exn_unary's own, and no epilogue's: */
    EXN_ACT_ABS = EXN_ACT_COUNT,
    EXN_ACT_SQRT,
    EXN_ACT_FLOOR,
    EXN_ACT_CEIL,
    EXN_ACT_ROUND, /* halves to even */
    EXN_ACT_SIGN,
    EXN_ACT_THRESHOLD, /* x > lo ? x : 0 */
    EXN_ACT_SOFTSIGN,  /* x / (1 + |x|) */
    EXN_ACT_ERF,
    EXN_ACT_GELU,     /* x/2 * (1 + erf(x / sqrt 2)) */
    EXN_ACT_ELU,      /* hi * (x < 0 ? lo * (exp(x) - 1) : x) */
    EXN_ACT_SOFTPLUS, /* log(1 + exp(x)) */
    EXN_ACT_END
} exn_activation;

/* What happens to an accumulator before and after the chain; pointers are those of the tile's own element (0,0). */
typedef struct exn_epilogue {
    const float *bias;     /* [n], or NULL: start from +0. Ignored when accumulating */
    const float *residual; /* added before the activation, or NULL; may equal C exactly (in place) */
    ptrdiff_t residual_row;
    bool accumulate;           /* start from C; then bias is not used */
    exn_activation activation; /* micro-kernels: NONE or CLAMP only; drivers apply the rest row by row */
    float lo, hi;
    /* A hint, NULL: none. What the caller will read soon starts here: the kernel may prefetch k*segments*n floats, and
     * reads none of them. */
    const float *ask;
} exn_epilogue;

/* C[m x n] = epilogue(bias + sum over s < segments of A_s[m x k] * B_s[k x n]), m <= mr, n <= nr. */
typedef void exn_f32_gemm_fn(size_t m, size_t n, size_t k, size_t segments, const float *a, ptrdiff_t a_row,
                             ptrdiff_t a_col, ptrdiff_t a_segment, const float *b, ptrdiff_t b_row, float *c,
                             ptrdiff_t c_row, const exn_epilogue *e);

typedef struct exn_f32_gemm { /* pointer and tile travel together: they cannot disagree */
    exn_f32_gemm_fn *run;
    uint16_t mr, nr;
    const char *name; /* "f32_gemm_6x16_avx2" */
    uint16_t step;    /* partial tiles cost as much as the next multiple of so many columns; 0: as a whole tile */
} exn_f32_gemm;

/* One or more output rows of a depthwise convolution. Tap (ky, kx) of output pixel p reads input pixel
 * p*stride + kx*dilation - pad_left of the row that in[r*row_step + ky] points at; pixels outside [0, width), and rows
 * that are NULL, are not read but multiplied as zeros.
 * w: ceil(channels / panel) panels of (1 + kh*kw) * panel floats: bias, then taps in (ky, kx) order; channels beyond
 * the last are zero. Residual, if any, is laid out as the output. */
typedef struct exn_dwconv_rows {
    size_t rows, pixels, channels, kh, kw;
    size_t stride, dilation, pad_left, width; /* in input pixels */
    const float *const *in;                   /* pixel 0 of each input row */
    size_t row_step;                          /* pointers between output rows */
    ptrdiff_t in_pixel;                       /* floats from an input pixel to the next */
    const float *w;
    float *out;
    ptrdiff_t out_row, out_pixel;
    const exn_epilogue *e; /* bias is in w; residual at the same strides as out when not NULL */
} exn_dwconv_rows;
typedef void exn_f32_dwconv_fn(const exn_dwconv_rows *work);

typedef struct exn_f32_dwconv {
    exn_f32_dwconv_fn *run;
    uint16_t panel;   /* channels a panel */
    uint16_t rows;    /* output rows it likes to get at once */
    const char *name; /* "f32_dwconv_2x4_avx2" */
} exn_f32_dwconv;

/* Tiles, side by side, of Winograd's minimal filtering F(m x m, 3 x 3). Each makes m x m outputs from a window of p x p
 * inputs, p = m + 2; between the two transforms it is p*p positions, position i*p + j of tile t and channel c at
 * [(i*p + j)*position + t*tile + c]. The image's pixel (y, x) is at [y*row + x*pixel + c]. */
typedef struct exn_winograd_tiles {
    size_t tiles, channels;
    size_t h, w; /* of the image: window pixels outside are +0, output pixels outside are not stored */
    ptrdiff_t row, pixel;
    ptrdiff_t y, x; /* of the first tile's first pixel; the next tile's is at (y, x + m). Negative: padding */
    ptrdiff_t position, tile;
} exn_winograd_tiles;
/* transformed = B^T d B for every window d. */
typedef void exn_f32_winograd_in_fn(const exn_winograd_tiles *t, const float *image, float *transformed);
/* image = epilogue(A^T M A + bias); bias [channels]; the epilogue's own bias and accumulate are not used, its residual
 * lies as the image does. */
typedef void exn_f32_winograd_out_fn(const exn_winograd_tiles *t, const float *transformed, const float *bias,
                                     float *image, const exn_epilogue *e);

#define EXN_WINOGRADS 2u
typedef struct exn_f32_winograd {
    exn_f32_winograd_in_fn *in;
    exn_f32_winograd_out_fn *out;
    uint16_t outputs; /* m: 2 or 4 */
    const char *name; /* "f32_winograd_4x4_avx2" */
} exn_f32_winograd;

typedef enum exn_binary {
    EXN_ADD,
    EXN_SUB,
    EXN_MUL,
    EXN_DIV,
    EXN_BINARY_COUNT, /* of those that a set supplies. The others are exn_pair's own: */
    EXN_MAX = EXN_BINARY_COUNT,
    EXN_MIN, /* both give NaN where either is */
    EXN_POW, /* off by 2e-7 * |b * log a| of the result at most; a*a exactly where b is 2 for all */
    EXN_BINARY_END
} exn_binary;
typedef enum exn_reduction { EXN_REDUCE_SUM, EXN_REDUCE_MAX, EXN_REDUCTION_COUNT } exn_reduction;

/* Vector operations: one portable body (kernels/vector_body.h) compiled per set over its vec.h. y may equal any input
 * exactly (in place). max: (a > b || a is NaN) ? a : b, with what has been gathered so far as a. */
typedef struct exn_f32_vector {
    void (*activate)(exn_activation act, size_t n, const float *x, float *y, float lo, float hi);
    /* a_step and b_step are 0 (one value for all) or 1. */
    void (*binary)(exn_binary op, size_t n, const float *a, size_t a_step, const float *b, size_t b_step, float *y);
    void (*scale_shift)(size_t n, const float *x, const float *scale, const float *shift,
                        float *y);                                     /* fma(x, scale, shift) */
    void (*axpy)(size_t n, float alpha, const float *x, float *y);     /* y = fma(alpha, x, y) */
    float (*reduce)(exn_reduction op, size_t n, const float *x);       /* 16-lane tree; n 0: 0 or -Inf */
    float (*dot)(size_t n, const float *x, const float *y);            /* 16-lane tree of fma chains */
    float (*sum_exp)(size_t n, const float *x, float shift, float *y); /* y = exp(x - shift); returns their tree sum */
    /* y[c] = op over rows of x[r*x_row + c], ascending, starting from +0 or -Inf; accumulate: starting from y */
    void (*reduce_columns)(exn_reduction op, size_t rows, size_t n, const float *x, ptrdiff_t x_row, bool accumulate,
                           float *y);
    /* Window of taps, each a pointer to n channels: y = (max or sum over taps in order) * scale. Starts from +0 or -Inf;
     * accumulate: starts from y, so that long windows come in pieces (scale 1 until the last) */
    void (*pool)(exn_reduction op, size_t taps, const float *const *tap, size_t n, bool accumulate, float scale,
                 float *y);
    /* g is dY; dx += where the clamp passed: y strictly between lo and hi, of the forward's output y */
    void (*clamp_backward)(size_t n, const float *y, const float *dy, float lo, float hi, float *dx);
    /* One kernel row: dw[kx*dw_tap + c], fused multiply-adds of x[p*in_pixel + kx*in_tap + c] * dy[p*out_pixel + c] in
     * ascending p onto it */
    void (*dwconv_weights)(size_t pixels, size_t channels, size_t kw, const float *x, ptrdiff_t in_pixel,
                           ptrdiff_t in_tap, const float *dy, ptrdiff_t out_pixel, float *dw, ptrdiff_t dw_tap);
    /* v = fma(momentum, v, fma(decay, w, g)); w = fma(-rate, v, w) */
    void (*sgd)(size_t n, float *w, const float *g, float *v, float rate, float momentum, float decay);
    /* AdamW (Loshchilov and Hutter, 2019); correction1 = 1/(1-beta1^t), correction2 = 1/(1-beta2^t).
     * m = fma(beta1, m, (1-beta1)*g); v = fma(beta2, v, (1-beta2)*(g*g));
     * s = (m*correction1) / (sqrt(v*correction2) + epsilon); w = fma(-rate, fma(decay, w, s), w) */
    void (*adamw)(size_t n, float *w, const float *g, float *m, float *v, float rate, float beta1, float beta2,
                  float epsilon, float decay, float correction1, float correction2);
    const char *name;
} exn_f32_vector;

typedef struct exn_kernel_set {
    const char *name;                      /* "avx2" */
    uint32_t needs;                        /* EXN_CPU_* bits that the CPU and the OS must both offer, see arch/cpu.h */
    bool fused;                            /* fused multiply-add: belongs to the class of equal bits */
    exn_f32_gemm f32_gemm[EXN_GEMM_TILES]; /* [0] the base tile; further ones optional. [0].run NULL: inherit all */
    exn_f32_dwconv f32_dwconv;             /* run NULL: inherit */
    exn_f32_winograd f32_winograd[EXN_WINOGRADS]; /* [0] m 2, [1] m 4. [0].in NULL: inherit both */
    exn_f32_vector f32_vector;                    /* activate NULL: inherit all */
} exn_kernel_set;

#endif
