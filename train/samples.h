/* SPDX-License-Identifier: Apache-2.0
 * Personal samples: order, duplicates, near twins, folds. */
#ifndef EXN_TRAIN_SAMPLES_H
#define EXN_TRAIN_SAMPLES_H

#include "kernels/kernel_set.h"
#include "train/cache.h"
#include "train/normalise.h"

#define EXN_FOLDS_MAX 5u

typedef struct exn_sample {
    exn_content content;
    int64_t label;     /* EXN_UNLABELLED or a class */
    size_t record;     /* in the cache */
    exn_pixels pixels; /* of it alone; known where `bytes` is */
    uint8_t *bytes;    /* pixels in the network's size and order, (h, w, c); NULL: not kept. Owned by the trainer */
} exn_sample;

/* Sorts by content, then label; keeps one sample of equal content and label, and no unlabelled one beside a labelled one of
 * the same content. Returns how many stay: the set no longer depends on the order in which it was gathered. */
size_t exn_samples_settle(exn_sample *samples, size_t count);
/* Who goes where one of `count` samples and a newcomer has no room: an unlabelled one, else one of the largest class; of these the one
 * with the greatest content. Returns its index, `count` for the newcomer: who stays does not depend on the order of arrival.
 * of_class[label + 1]: how many there are, the newcomer included. */
size_t exn_samples_surplus(const exn_sample *samples, size_t count, const exn_sample *newcomer, const size_t *of_class,
                           size_t classes);
/* How many folds this many samples are judged by: 0 (one sample cannot be judged), 2, 3 or 5. */
size_t exn_fold_count(size_t samples);
/* Near twins: samples that do not differ in their labels (samples NULL: nobody knows any) and whose features (count rows of
 * `features`, overwritten) have a cosine above 0.6 once standardised over the rows, and what they connect; above 0.5, 0.4, 0.3
 * below 200, 75, 20 rows, which standardising pushes farther apart. group[i] is the least index of i's group. Where that makes a
 * group of more than a tenth of the samples (and more than eight), it is a class rather than twins, and a fold that held all of
 * it would judge exits on what they never saw: then a tenth more, up to 0.98, and at last no groups. */
exn_status exn_samples_group(size_t *group, exn_context *ctx, const exn_f32_vector *vector, const exn_sample *samples,
                             float *rows, size_t count, size_t features);
/* fold[i] < folds (0 where there are none): twins share a fold, each class is spread as evenly as that allows;
 * EXN_UNLABELLED counts as a class. folds <= EXN_FOLDS_MAX. */
exn_status exn_folds_assign(size_t *fold, exn_context *ctx, const exn_sample *samples, const size_t *group,
                            size_t count, size_t folds, size_t classes);

#endif
