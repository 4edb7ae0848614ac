/* SPDX-License-Identifier: Apache-2.0
 * A fit's insides, shared by the files that lay it out, give it a start, and step it. */
#ifndef EXN_TRAIN_LOOP_PRIVATE_H
#define EXN_TRAIN_LOOP_PRIVATE_H

#include "core/rng.h"
#include "train/layers.h"
#include "train/loop.h"

#define EXN_FIT_LAYERS_MAX 18u
#define EXN_FIT_NORMS_MAX (EXN_HEAD_STAGES_MAX + 1u)
#define EXN_FIT_NORM_EPSILON 1e-5f /* of standardise */

struct exn_fit {
    exn_context *ctx;
    const exn_kernel_set *kernels;
    exn_pool *pool;
    exn_head *head;
    exn_fit_samples samples;
    exn_fit_options options;
    size_t batch, classes;
    size_t row; /* floats of one sample: the head's prefix */
    bool whole; /* convolutions are on the tape */
    exn_tape *tape;
    exn_layer layer[EXN_FIT_LAYERS_MAX];
    size_t layers;
    exn_var x, mean, inv_std, mask, target, weight, soft, soft_weight, loss;
    void *arena;
    exn_arena_plan plan;
    float *gradients, *moments;          /* of all slots, one after the other */
    float *variance;                     /* whole: running variance of standardise */
    float *saved[2 * EXN_FIT_NORMS_MAX]; /* whole: mean and inverse deviation of a batch, for each norm */
    size_t norms;
    exn_optimiser optimiser;
    exn_rng rng;
    size_t *order; /* a shuffled round through the samples */
    size_t next;
    bool loaded; /* the whole set is one batch and stays in place */
};

/* Elements of all tensors that are trained. */
size_t exn_fit_trained_count(const exn_fit *fit);
/* Records the tape and plans its arena; the fit's blocks are there. */
exn_status exn_fit_record(exn_fit *fit);
/* Copies a sample's prefix. */
exn_status exn_fit_read_row(float *out, const exn_fit *fit, size_t sample);
/* Statistics of the norms before the first step, and a classifier restated for them. The arena is in place. */
exn_status exn_fit_set_statistics(exn_fit *fit);

#endif
