/* SPDX-License-Identifier: Apache-2.0
 * A tiny network and people for it: what tests of profiles, trainers and runners share. */
#ifndef EXN_TESTS_UNIT_SMALL_H
#define EXN_TESTS_UNIT_SMALL_H

#include "tests/unit/unit.h"
#include "train/profile.h"

#define SMALL_CLASSES 5u
#define SMALL_INPUT (3u * 12u * 12u)

/* Opens the network of three inverted blocks in the golden data: 3x12x12, five logits, random weights. */
exn_status small_model(exn_model **out, exn_context *ctx);
/* What a test of files needs: a context, that network, and the path of `name` in a folder of its own. */
void small_set_up(exn_context **ctx, exn_model **model, char **folder, char **path, const char *name);
void small_tear_down(exn_context *ctx, exn_model *model, char *folder, char *path);
/* Two early exits of a kind, seed 7. */
exn_status small_profile(exn_profile **out, const exn_model *model, exn_head_kind kind);
/* Sample `index` of class `label`: a pattern of the class under noise. */
void small_input(float chw[SMALL_INPUT], size_t label, size_t index);
/* Adds `count` samples whose labels go round; those with index % 100 >= labelled per cent come unlabelled. */
exn_status small_add(exn_trainer *trainer, size_t count, size_t labelled);
/* Right answers of 100 that `exit` alone would give to samples that small_add never adds; exit SIZE_MAX: a runner's. */
size_t small_right(exn_context *ctx, const exn_profile *profile, size_t exit);
/* The whole file in memory; free() it. */
uint8_t *small_read(size_t *size, const char *path);
/* Saved, both are the same bytes. */
void small_same_profiles(const exn_profile *a, const exn_profile *b);
/* Saves the profile with the first `from` replaced by `to` (of the same length) in its state, all checksums made good again. */
void small_forge(exn_context *ctx, const exn_profile *profile, const char *path, const char *from, const char *to);

#endif
