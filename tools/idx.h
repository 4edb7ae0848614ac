/* SPDX-License-Identifier: Apache-2.0
 * IDX files as the MNIST family uses them: unsigned bytes, plain or gzipped. */
#ifndef EXN_TOOLS_IDX_H
#define EXN_TOOLS_IDX_H

#include "core/tensor.h"

/* Whole file as a U8 tensor, at most a gigabyte. *out is destroyed with exn_tensor_destroy. */
exn_status exn_idx_load(exn_tensor *out, exn_context *ctx, const char *path);
/* Whether a plain or gzipped file begins like an IDX file of unsigned bytes. */
bool exn_idx_recognise(const char *path);

#endif
