/* SPDX-License-Identifier: Apache-2.0
 * Computing operators whose inputs are constants: mostly arithmetic on shapes. */
#ifndef EXN_GRAPH_CONSTFOLD_H
#define EXN_GRAPH_CONSTFOLD_H

#include "graph/infer.h"

/* Computes the outputs of an inferred operator (its parameters already are attributes) and adds them as constants;
 * names[i] NULL: made up. EXN_E_UNSUPPORTED for operators that are not arithmetic or movement. */
exn_status exn_constfold(exn_value_id *outputs, exn_infer *s, const char *const *names);

#endif
