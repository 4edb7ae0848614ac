/* SPDX-License-Identifier: Apache-2.0
 * Heads as named tensors: "exits.0.fc.weight" is of the head in use, "general.0.fc.weight" of what it was before any person. */
#ifndef EXN_TRAIN_HEAD_FILE_H
#define EXN_TRAIN_HEAD_FILE_H

#include "graph/head.h"
#include "train/safetensors.h"

#define EXN_HEAD_NAME_BYTES 64u
#define EXN_HEAD_OWN "exits"
#define EXN_HEAD_GENERAL "general"

/* role: one of the two above. */
void exn_head_file_name(char name[EXN_HEAD_NAME_BYTES], const char *role, size_t exit, exn_head_tensor which);
/* Adds all tensors of a head; the list borrows them. */
exn_status exn_head_file_list(exn_tensor_list *list, exn_context *ctx, const exn_head *head, const char *role,
                              size_t exit);
/* Fills one tensor that the head's kind has. EXN_E_FORMAT where it is missing, of another type or shape, or no sane numbers. */
exn_status exn_head_file_load(const exn_head *head, exn_context *ctx, const exn_tensor_list *list, const char *role,
                              size_t exit, exn_head_tensor which);

#endif
