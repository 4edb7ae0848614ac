/* SPDX-License-Identifier: Apache-2.0
 * The network that profiles and packed weights of fuzz targets belong to. */
#ifndef EXN_TESTS_FUZZ_NETWORK_H
#define EXN_TESTS_FUZZ_NETWORK_H

#include "graph/model.h"

/* 3x12x12, five logits; opened on first use, never closed. EXN_SOURCE_ROOT says where the tree is. */
#define FUZZ_NETWORK "tests/golden/data/inverted_fixed_batch.onnx"
enum { FUZZ_CLASSES = 5, FUZZ_INPUT = 3 * 12 * 12 };
const exn_model *fuzz_network(void);

#endif
