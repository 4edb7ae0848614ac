/* SPDX-License-Identifier: Apache-2.0
 * Cross-entropy of softmax(z / T) to a target distribution, with its gradient. */
#include "kernels/backward.h"
#include "kernels/block.h"
#include "kernels/softmax.h"

/* One row. The gradient of T^2 * (log(sum exp(z/T)) * total - sum target * z/T) by z is T * (total * p - target). */
static double row_loss(const exn_f32_vector *vector, size_t classes, const float *z, const float *target, float weight,
                       float temperature, float *dz) {
    const float highest = vector->reduce(EXN_REDUCE_MAX, classes, z), cooling = 1.0f / temperature;
    const float sum = exn_row_sum_exp(vector, classes, z, highest, cooling);
    const double log_sum = (double)exn_log_of(vector, sum);
    double total = 0.0, loss = 0.0;
    for (size_t j = 0; j < classes; j++) {
        total += (double)target[j];
        /* 0 * -Inf: a class that cannot be and is not expected costs nothing. */
        if (target[j] != 0.0f) loss += (double)target[j] * (log_sum - (double)((z[j] - highest) * cooling));
    }
    const float step = weight * temperature, share = (float)total / sum;
    for (size_t j = 0; dz && j < classes; j += EXN_SOFTMAX_PIECE) {
        const size_t count = exn_min(EXN_SOFTMAX_PIECE, classes - j);
        float raised[EXN_SOFTMAX_PIECE];
        vector->binary(EXN_SUB, count, z + j, 1, &highest, 0, raised);
        vector->binary(EXN_MUL, count, raised, 1, &cooling, 0, raised);
        vector->activate(EXN_ACT_EXP, count, raised, raised, 0.0f, 0.0f);
        for (size_t i = 0; i < count; i++) dz[j + i] += step * (raised[i] * share - target[j + i]);
    }
    return loss * (double)weight * (double)temperature * (double)temperature;
}

void exn_soft_cross_entropy(const exn_f32_vector *vector, size_t rows, size_t classes, const float *z,
                            const float *target, const float *weight, float temperature, double *loss, float *dz) {
    for (size_t r = 0; r < rows; r++)
        *loss += row_loss(vector, classes, z + r * classes, target + r * classes, weight ? weight[r] : 1.0f,
                          temperature, dz ? dz + r * classes : NULL);
}
