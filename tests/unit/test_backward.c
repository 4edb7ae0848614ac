/* SPDX-License-Identifier: Apache-2.0
 * Gradients of head layers against central differences of naive double-precision forward code, and their forward
 * halves against the same code. */
#include "kernels/backward.h"
#include "tests/unit/drivers.h"

#include <math.h>
#include <stdlib.h>

/* Work of a case: `forward` computes y from p in double precision, p being all inputs one after another. The scalar
 * whose gradient is tested is sum dy*y. */
typedef struct layer layer;
struct layer {
    void (*forward)(const layer *l, const double *p, double *y);
    size_t inputs, outputs;
    const float *values; /* [inputs] */
    const float *dy;     /* [outputs] */
    size_t m, n, k;      /* linear */
    exn_conv_shape shape;
    exn_batchnorm bn; /* without memory */
    bool with_bias;
    size_t classes;
    float temperature;
    void *workspace;
};

static double objective(const layer *l, const double *p, double *y) {
    double sum = 0.0;
    l->forward(l, p, y);
    for (size_t i = 0; i < l->outputs; i++) sum += (double)l->dy[i] * y[i];
    return sum;
}

/* d objective / d inputs by central differences. */
static double *central_differences(const layer *l) {
    double *p = drivers_doubles(l->inputs), *y = drivers_doubles(l->outputs), *gradient = drivers_doubles(l->inputs);
    const double step = 1e-5;
    for (size_t i = 0; i < l->inputs; i++) p[i] = (double)l->values[i];
    for (size_t i = 0; i < l->inputs; i++) {
        const double here = p[i];
        p[i] = here + step;
        const double above = objective(l, p, y);
        p[i] = here - step;
        gradient[i] = (above - objective(l, p, y)) / (2 * step);
        p[i] = here;
    }
    free(p), free(y);
    return gradient;
}

static double *forward_values(const layer *l) {
    double *p = drivers_doubles(l->inputs), *y = drivers_doubles(l->outputs);
    for (size_t i = 0; i < l->inputs; i++) p[i] = (double)l->values[i];
    l->forward(l, p, y);
    free(p);
    return y;
}

typedef void run_fn(void *user, const exn_kernel_set *set, float *out, exn_part part);

static double *same_bound(size_t count, double bound) {
    double *bounds = drivers_doubles(count);
    for (size_t i = 0; i < count; i++) bounds[i] = bound;
    return bounds;
}

static void verify(const char *name, layer *l, run_fn *run, void (*prepare)(void *, const exn_kernel_set *, size_t),
                   void (*finish)(void *), double *expected, size_t count, const float *start, double bound) {
    double *bounds = same_bound(count, bound);
    for (size_t i = 0; start && i < count; i++) expected[i] += (double)start[i];
    drivers_verify(&(drivers_job){name, count, start, expected, bounds, prepare, run, finish, l, true});
    free(bounds), free(expected);
}

static void free_workspace(void *user) {
    free(((layer *)user)->workspace);
}

/* ---- linear: inputs are x, w, b ---- */

static void linear_reference(const layer *l, const double *p, double *y) {
    const double *x = p, *w = x + l->m * l->k, *b = w + l->n * l->k;
    for (size_t i = 0; i < l->m; i++)
        for (size_t j = 0; j < l->n; j++) {
            y[i * l->n + j] = b[j];
            for (size_t q = 0; q < l->k; q++) y[i * l->n + j] += x[i * l->k + q] * w[j * l->k + q];
        }
}

static void linear_prepare(void *user, const exn_kernel_set *set, size_t parts) {
    layer *l = user;
    (void)parts;
    l->workspace = drivers_scratch(exn_linear_workspace_bytes(set, l->n, l->k));
}

static void linear_forward(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const layer *l = user;
    const float *x = l->values, *w = x + l->m * l->k, *b = w + l->n * l->k;
    exn_linear_forward(set, l->m, l->n, l->k, x, w, b, out, l->workspace, part);
}

/* All three gradients at once, laid out as the inputs are. */
static void linear_backward(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const layer *l = user;
    const float *x = l->values, *w = x + l->m * l->k;
    float *dw = out + l->m * l->k, *db = dw + l->n * l->k;
    exn_linear_backward(set, l->m, l->n, l->k, x, w, l->dy, out, dw, db, l->workspace, part);
}

START_TEST(linear) {
    exn_rng rng = exn_rng_seed(51, 0);
    for (size_t round = 0; round < 12; round++) {
        layer l = {.forward = linear_reference,
                   .m = DRIVERS_PICK(&rng, 1, 3, 16, 33),
                   .n = DRIVERS_PICK(&rng, 1, 2, 10, 19),
                   .k = DRIVERS_PICK(&rng, 1, 5, 16, 20)};
        l.inputs = l.m * l.k + l.n * l.k + l.n;
        l.outputs = l.m * l.n;
        float *values = drivers_random(&rng, l.inputs), *dy = drivers_random(&rng, l.outputs);
        float *start = drivers_random(&rng, l.inputs);
        l.values = values, l.dy = dy;
        verify("linear", &l, linear_forward, linear_prepare, free_workspace, forward_values(&l), l.outputs, NULL, 1e-5);
        verify("linear gradient", &l, linear_backward, linear_prepare, free_workspace, central_differences(&l),
               l.inputs, start, 2e-5);
        free(values), free(dy), free(start);
    }
}
END_TEST

/* ---- depthwise: inputs are x, w[kh*kw][c] ---- */

static void depthwise_reference(const layer *l, const double *p, double *y) {
    const exn_conv_shape *s = &l->shape;
    const double *w = p + s->n * s->h * s->w * s->c;
    for (size_t at = 0; at < l->outputs; at++) {
        const size_t c = at % s->c, ox = at / s->c % s->ow, row = at / s->c / s->ow;
        y[at] = 0.0;
        for (size_t tap = 0; tap < s->kh * s->kw; tap++) {
            const size_t iy = row % s->oh * s->stride_h + tap / s->kw * s->dilation_h - s->pad_top;
            const size_t ix = ox * s->stride_w + tap % s->kw * s->dilation_w - s->pad_left;
            if (iy >= s->h || ix >= s->w) continue; /* negative ones wrap round */
            y[at] += p[((row / s->oh * s->h + iy) * s->w + ix) * s->c + c] * w[tap * s->c + c];
        }
    }
}

static void depthwise_prepare(void *user, const exn_kernel_set *set, size_t parts) {
    layer *l = user;
    l->workspace = drivers_scratch(exn_dwconv_workspace_bytes(set, &l->shape, parts));
}

static void depthwise_forward(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const layer *l = user;
    const exn_conv_shape *s = &l->shape;
    exn_dwconv_forward(set, s, l->values, l->values + s->n * s->h * s->w * s->c, out, l->workspace, part);
}

static void depthwise_backward(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const layer *l = user;
    const exn_conv_shape *s = &l->shape;
    const size_t x_count = s->n * s->h * s->w * s->c;
    exn_dwconv_backward(set, s, l->values, l->values + x_count, l->dy, out, out + x_count, l->workspace, part);
}

START_TEST(depthwise) {
    exn_rng rng = exn_rng_seed(52, 0);
    for (size_t round = 0; round < 16; round++) {
        layer l = {.forward = depthwise_reference,
                   .shape = {.n = DRIVERS_PICK(&rng, 1, 2),
                             .h = DRIVERS_PICK(&rng, 1, 3, 5),
                             .w = DRIVERS_PICK(&rng, 1, 4, 6),
                             .c = DRIVERS_PICK(&rng, 1, 3, 19),
                             .kh = 3,
                             .kw = round % 4 ? 3 : 2,
                             .stride_h = DRIVERS_PICK(&rng, 1, 2),
                             .stride_w = DRIVERS_PICK(&rng, 1, 2),
                             .dilation_h = DRIVERS_PICK(&rng, 1, 1, 2),
                             .dilation_w = DRIVERS_PICK(&rng, 1, 1, 2),
                             .pad_top = DRIVERS_PICK(&rng, 0, 1),
                             .pad_left = DRIVERS_PICK(&rng, 0, 1, 2)}};
        exn_conv_shape *s = &l.shape;
        s->oc = s->groups = s->c;
        s->oh = (s->h + s->stride_h - 1) / s->stride_h;
        s->ow = (s->w + s->stride_w - 1) / s->stride_w;
        l.inputs = s->n * s->h * s->w * s->c + s->kh * s->kw * s->c;
        l.outputs = s->n * s->oh * s->ow * s->c;
        float *values = drivers_random(&rng, l.inputs), *dy = drivers_random(&rng, l.outputs);
        float *start = drivers_random(&rng, l.inputs);
        l.values = values, l.dy = dy;
        verify("depthwise", &l, depthwise_forward, depthwise_prepare, free_workspace, forward_values(&l), l.outputs,
               NULL, 1e-5);
        verify("depthwise gradient", &l, depthwise_backward, depthwise_prepare, free_workspace, central_differences(&l),
               l.inputs, start, 2e-5);
        free(values), free(dy), free(start);
    }
}
END_TEST

/* ---- batch-norm: inputs are x, scale, shift; running statistics are constants ---- */

#define BN_ROWS 13u
#define BN_CHANNELS 70u
static const float bn_epsilon = 1e-3f, bn_momentum = 0.1f;

static float running_mean(size_t c) {
    return 0.01f * (float)c;
}
static float running_var(size_t c) {
    return 0.5f + 0.02f * (float)c;
}

static void batchnorm_statistics(const layer *l, const double *x, size_t c, double *mean, double *variance) {
    *mean = (double)running_mean(c), *variance = (double)running_var(c);
    if (l->bn.frozen) return;
    *mean = *variance = 0.0;
    for (size_t r = 0; r < BN_ROWS; r++) *mean += x[r * BN_CHANNELS + c] / BN_ROWS;
    for (size_t r = 0; r < BN_ROWS; r++) *variance += pow(x[r * BN_CHANNELS + c] - *mean, 2) / BN_ROWS;
}

static void batchnorm_reference(const layer *l, const double *p, double *y) {
    const double *scale = p + BN_ROWS * BN_CHANNELS, *shift = scale + BN_CHANNELS;
    for (size_t c = 0; c < BN_CHANNELS; c++) {
        double mean, variance;
        batchnorm_statistics(l, p, c, &mean, &variance);
        for (size_t r = 0; r < BN_ROWS; r++)
            y[r * BN_CHANNELS + c] =
                (p[r * BN_CHANNELS + c] - mean) / sqrt(variance + (double)bn_epsilon) * scale[c] + shift[c];
    }
}

/* Workspace: running mean, running variance, mean, inverse deviation. */
static void batchnorm_prepare(void *user, const exn_kernel_set *set, size_t parts) {
    layer *l = user;
    (void)set, (void)parts;
    float *memory = l->workspace = drivers_scratch(4 * BN_CHANNELS * sizeof(float));
    for (size_t c = 0; c < BN_CHANNELS; c++) {
        memory[c] = running_mean(c);
        memory[BN_CHANNELS + c] = running_var(c);
    }
    l->bn = (exn_batchnorm){.rows = BN_ROWS,
                            .c = BN_CHANNELS,
                            .epsilon = bn_epsilon,
                            .momentum = bn_momentum,
                            .frozen = l->bn.frozen,
                            .scale = l->values + BN_ROWS * BN_CHANNELS,
                            .shift = l->values + (BN_ROWS + 1) * BN_CHANNELS,
                            .running_mean = memory,
                            .running_var = memory + BN_CHANNELS,
                            .mean = memory + 2 * BN_CHANNELS,
                            .inv_std = memory + 3 * BN_CHANNELS};
}

static void batchnorm_forward(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const layer *l = user;
    exn_batchnorm_forward(&l->bn, &set->f32_vector, l->values, out, part);
}

static void batchnorm_backward(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const layer *l = user;
    float y[BN_ROWS * BN_CHANNELS], *dscale = out + BN_ROWS * BN_CHANNELS, *dshift = dscale + BN_CHANNELS;
    exn_batchnorm_forward(&l->bn, &set->f32_vector, l->values, y, part);
    exn_batchnorm_backward(&l->bn, &set->f32_vector, l->values, l->dy, out, dscale, dshift, part);
}

START_TEST(batchnorm) {
    exn_rng rng = exn_rng_seed(53, 0);
    for (size_t frozen = 0; frozen < 2; frozen++) {
        layer l = {.forward = batchnorm_reference,
                   .bn = {.frozen = frozen},
                   .inputs = (BN_ROWS + 2) * BN_CHANNELS,
                   .outputs = BN_ROWS * BN_CHANNELS};
        float *values = drivers_random(&rng, l.inputs), *dy = drivers_random(&rng, l.outputs);
        float *start = drivers_random(&rng, l.inputs);
        l.values = values, l.dy = dy;
        verify("batch-norm", &l, batchnorm_forward, batchnorm_prepare, free_workspace, forward_values(&l), l.outputs,
               NULL, 1e-5);
        verify("batch-norm gradient", &l, batchnorm_backward, batchnorm_prepare, free_workspace,
               central_differences(&l), l.inputs, start, 5e-5);
        free(values), free(dy), free(start);
    }
}
END_TEST

/* Two rows 1 and 3: mean 2, biased variance 1, unbiased 2; both move by a tenth. Frozen ones do not. */
START_TEST(running_statistics) {
    const exn_kernel_set set = drivers_best_set();
    const float x[] = {1.0f, 3.0f};
    float y[2], running[] = {0.0f, 1.0f}, saved[2];
    exn_batchnorm bn = {.rows = 2,
                        .c = 1,
                        .momentum = 0.1f,
                        .running_mean = &running[0],
                        .running_var = &running[1],
                        .mean = &saved[0],
                        .inv_std = &saved[1]};
    exn_batchnorm_forward(&bn, &set.f32_vector, x, y, exn_part_whole());
    unit_assert_near(running, ((const float[]){0.2f, 1.1f}), 2, 1e-6, 0.0);
    unit_assert_near(saved, ((const float[]){2.0f, 1.0f}), 2, 1e-6, 0.0);
    unit_assert_near(y, ((const float[]){-1.0f, 1.0f}), 2, 1e-6, 0.0);
    bn.frozen = true;
    exn_batchnorm_forward(&bn, &set.f32_vector, x, y, exn_part_whole());
    unit_assert_near(running, ((const float[]){0.2f, 1.1f}), 2, 1e-6, 0.0);
    unit_assert_near(saved, ((const float[]){0.2f, 0.95346259f}), 2, 1e-6, 0.0);
}
END_TEST

/* ---- soft cross-entropy: inputs are z; dy is 1; targets and weights follow z in `values` ---- */

#define CE_ROWS 5u

/* log of the sum of exp(z/T). */
static double log_normaliser(const layer *l, const double *z) {
    double most = -INFINITY, sum = 0.0;
    for (size_t i = 0; i < l->classes; i++) most = fmax(most, z[i] / (double)l->temperature);
    for (size_t i = 0; i < l->classes; i++) sum += exp(z[i] / (double)l->temperature - most);
    return most + log(sum);
}

static void entropy_reference(const layer *l, const double *p, double *y) {
    const float *target = l->values + l->inputs, *weight = target + l->inputs;
    const double temperature = (double)l->temperature;
    *y = 0.0;
    for (size_t r = 0; r < CE_ROWS; r++, p += l->classes, target += l->classes) {
        const double normaliser = log_normaliser(l, p);
        for (size_t j = 0; j < l->classes; j++)
            *y -= (double)weight[r] * temperature * temperature * (double)target[j] * (p[j] / temperature - normaliser);
    }
}

static void entropy_loss(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const layer *l = user;
    const float *target = l->values + l->inputs, *weight = target + l->inputs;
    if (part.index) return;
    double loss = 0.0;
    exn_soft_cross_entropy(&set->f32_vector, CE_ROWS, l->classes, l->values, target, weight, l->temperature, &loss,
                           NULL);
    *out = (float)loss;
}

static void entropy_gradient(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const layer *l = user;
    const float *target = l->values + l->inputs, *weight = target + l->inputs;
    if (part.index) return;
    double loss = 0.0;
    exn_soft_cross_entropy(&set->f32_vector, CE_ROWS, l->classes, l->values, target, weight, l->temperature, &loss,
                           out);
}

START_TEST(soft_cross_entropy) {
    exn_rng rng = exn_rng_seed(54, 0);
    for (size_t round = 0; round < 8; round++) {
        layer l = {.forward = entropy_reference,
                   .classes = DRIVERS_PICK(&rng, 1, 2, 10, 300),
                   .temperature = round % 2 ? 1.0f : 3.0f,
                   .outputs = 1,
                   .dy = (const float[]){1.0f}};
        l.inputs = CE_ROWS * l.classes;
        float *values = drivers_random(&rng, 2 * l.inputs + CE_ROWS), *start = drivers_random(&rng, l.inputs);
        for (size_t i = 0; i < l.inputs; i++) values[i] *= 5.0f;
        for (size_t i = l.inputs; i < 2 * l.inputs + CE_ROWS; i++) values[i] = fabsf(values[i]) / 10.0f;
        l.values = values;
        const double size = (double)l.classes;
        verify("loss", &l, entropy_loss, NULL, NULL, forward_values(&l), 1, NULL, 1e-5 * (1.0 + size));
        verify("gradient of the loss", &l, entropy_gradient, NULL, NULL, central_differences(&l), l.inputs, start,
               2e-5);
        free(values), free(start);
    }
}
END_TEST

/* A certain wrong answer must cost a lot and not infinity times nothing. */
START_TEST(cross_entropy_of_certainty) {
    const exn_kernel_set set = drivers_best_set();
    const float z[] = {-INFINITY, 1.0f, 2.0f}, target[] = {0.0f, 1.0f, 0.0f};
    double loss = 0.0;
    float dz[3] = {0};
    exn_soft_cross_entropy(&set.f32_vector, 1, 3, z, target, NULL, 1.0f, &loss, dz);
    ck_assert(fabs(loss - 1.3132616875) < 1e-5);
    ck_assert(dz[0] == 0.0f && fabsf(dz[1] + 0.73105858f) < 1e-5f && fabsf(dz[2] - 0.73105858f) < 1e-5f);
}
END_TEST

int main(void) {
    return unit_run("backward", (const TTest *[]){linear, depthwise, batchnorm, running_statistics, soft_cross_entropy,
                                                  cross_entropy_of_certainty, NULL});
}
