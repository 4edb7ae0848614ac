/* SPDX-License-Identifier: Apache-2.0
 * Classes that the network does not know, added on the device: rows of every personal head's FC. */
#ifndef EXN_TRAIN_GROW_H
#define EXN_TRAIN_GROW_H

#include "train/profile.h"

/* What the untouched network gives a class that it does not know: as good as never, and finite. */
#define EXN_UNKNOWN_LOGIT (-1e4f)

/* Rows of zeros and this bias until the head has `classes`; a head that has them stays as it is. */
exn_status exn_head_grow(exn_head *head, exn_context *ctx, size_t classes, float bias);

#endif
