/* SPDX-License-Identifier: Apache-2.0
 * What a profile says beside its tensors, as versioned JSON: network, preprocessing, classes, exits, checksums. */
#ifndef EXN_TRAIN_STATE_H
#define EXN_TRAIN_STATE_H

#include "train/profile.h"
#include "train/safetensors.h"

#include <jansson.h>

/* A file of a newer major version is refused; fields that a newer minor version added are ignored. */
#define EXN_STATE_MAJOR 1
#define EXN_STATE_MINOR 2 /* 1: general heads and their figures; 2: the hash of the graph alone */
#define EXN_STATE_TENSOR "exeunt.state"
#define EXN_STATE_HASH_TENSOR "exeunt.state.hash" /* of the state's bytes, 32 hex digits */

/* JSON text, to be freed with free(); `tensors` are checksummed. model_path: as it shall be found from the profile. */
exn_status exn_state_write(char **out, const exn_profile *profile, const exn_tensor_list *tensors,
                           const char *model_path);
/* Fills in everything but the heads' tensors, which it allocates. profile->ctx and ->model are set, all else is zero; on
 * failure the profile is in a state that exn_profile_destroy accepts. The tensors' checksums must be those of the state. */
exn_status exn_state_read(exn_profile *profile, const exn_tensor_list *tensors);
/* The network's path in a profile's bytes; free with exn_free. */
exn_status exn_state_model_path(char **out, exn_context *ctx, const exn_tensor_list *tensors);

json_t *exn_preprocess_write(const exn_preprocess *preprocess);

/* Evidence of decisions: the state's `exits[].evidence`, `general.pixels`, `preprocess.personal`, `prior`. */
json_t *exn_gate_write(const exn_gate *gate);
bool exn_gate_read(exn_gate *out, const json_t *object);
json_t *exn_pixels_write(const exn_pixels *pixels);
bool exn_pixels_read(exn_pixels *out, const json_t *object);
json_t *exn_prior_write(const exn_prior *prior);
bool exn_prior_read(exn_prior *out, const json_t *object);
/* One entry a lesson; `exits`: figures in each. */
json_t *exn_history_write(const exn_history *history, size_t exits);
bool exn_history_read(exn_history *out, const json_t *array, size_t exits);
json_t *exn_normalisation_write(const exn_normalisation *normal);
bool exn_normalisation_read(exn_normalisation *out, const json_t *object);

/* The operating points as the state's `policy`, which may be absent (NULL). False: the bytes make no sense, and the profile may
 * be half filled in. The exits are read before the points. */
json_t *exn_points_write(const exn_profile *profile);
bool exn_points_read(exn_profile *profile, const json_t *policy);

#endif
