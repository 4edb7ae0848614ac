/* SPDX-License-Identifier: Apache-2.0
 * Moving a layer toward a person, in the span of the person's samples.
 *
 * Multinomial regression from given logits, pulled back to them:
 *
 *     least  sum over i of weight_i * cross-entropy(target_i, softmax(start_i + z_i)) + pull/2 * (|V|^2 + |c|^2)
 *     with   z_i = V x_i / sqrt(width) + c
 *     or     z_i = V (x_i - m) / sqrt(width), m the weighted mean of the x_i (centred: what all samples share stays unmoved)
 *
 * Only what samples span can lower the loss, so V = sum over j of a_j x_j: all that a fit needs is the samples' products with
 * each other, count^2 numbers instead of width * classes weights, and fits over several subsets of the samples (folds) go side by side
 * as columns of one matrix. The loss is convex: accelerated gradient steps, a fixed number of them, from zero. */
#ifndef EXN_TRAIN_SPAN_H
#define EXN_TRAIN_SPAN_H

#include "kernels/kernel_set.h"
#include "train/archive.h"

typedef struct exn_span exn_span;

/* features: count rows of `width` standardised numbers, borrowed. blocks: fits side by side. All >= 1. */
exn_status exn_span_create(exn_span **out, exn_context *ctx, const exn_kernel_set *kernels, const float *features,
                           size_t count, size_t width, size_t classes, size_t blocks);
void exn_span_destroy(exn_span *span);

/* What a fit works on, to be filled in: rows of `classes` numbers. The start is kept between fits, as are targets. */
float *exn_span_start(exn_span *span, size_t block, size_t sample);
float *exn_span_target(exn_span *span, size_t block, size_t sample);
/* 0: this block does not learn from the sample. The weights of a block that learns add up to 1. */
void exn_span_weigh(exn_span *span, size_t block, size_t sample, float weight);

/* All blocks from zero, `steps` steps in pieces: begin, advance by so many until none is left (false), end. pull > 0.
 * EXN_E_INVALID if the result is not finite. */
void exn_span_begin(exn_span *span, double pull, bool centred, size_t steps);
bool exn_span_advance(exn_span *span, size_t steps);
exn_status exn_span_end(exn_span *span);
/* Where a fit stands that was begun: written, or read into one that was begun alike. */
void exn_span_exchange(exn_span *span, exn_archive *archive);
/* After a fit: logits of a block for any sample, start included. Valid until the next fit. */
const float *exn_span_logits(const exn_span *span, size_t block, size_t sample);
/* Adds what a block learned to weights (classes, width) over the features given and to a bias (classes). */
void exn_span_move(float *weight, float *bias, const exn_span *span, size_t block);

/* Bytes that exn_span_create takes, and multiply-adds of one fit. */
size_t exn_span_bytes(size_t count, size_t classes, size_t blocks);
uint64_t exn_span_macs(size_t count, size_t classes, size_t blocks, size_t steps);

#endif
