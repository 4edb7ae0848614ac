/* SPDX-License-Identifier: Apache-2.0
 * Class frequencies of a person. */
#include "train/prior.h"

#include <string.h>

static float at_most(float value, float most) {
    return value > most ? most : value < -most ? -most : value;
}

void exn_prior_from_labels(float *shift, const exn_f32_vector *vector, size_t classes, const int64_t *label,
                           const bool *counts, size_t samples) {
    size_t labelled = 0;
    memset(shift, 0, classes * sizeof *shift);
    for (size_t i = 0; i < samples; i++) {
        if (label[i] < 0 || (counts && !counts[i])) continue;
        shift[label[i]] += 1.0f;
        labelled++;
    }
    /* (counts + strength / classes) / (labelled + strength), over 1 / classes */
    for (size_t c = 0; c < classes; c++)
        shift[c] = (float)(((double)shift[c] * (double)classes + EXN_PRIOR_STRENGTH) /
                           ((double)labelled + EXN_PRIOR_STRENGTH));
    vector->activate(EXN_ACT_LOG, classes, shift, shift, 0, 0);
    for (size_t c = 0; c < classes; c++) shift[c] = at_most(shift[c], (float)EXN_PRIOR_MOST);
}
