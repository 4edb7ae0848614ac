/* SPDX-License-Identifier: Apache-2.0
 * Where a model's taps stand in measured time. */
#ifndef EXN_TRAIN_PLACE_H
#define EXN_TRAIN_PLACE_H

#include "graph/model.h"

/* cost: [model->tap_count], the share of the untouched network's milliseconds on this device that have passed when a tap's value
 * is there; NaN for values that never exist as a whole, inside steps that work in strips. */
exn_status exn_place_measure(double *cost, const exn_model *model);

#endif
