/* SPDX-License-Identifier: Apache-2.0
 * A data set's insides, shared by the files that fill it in. */
#ifndef EXN_TOOLS_DATASET_PRIVATE_H
#define EXN_TOOLS_DATASET_PRIVATE_H

#include "core/tensor.h"
#include "tools/dataset.h"
#include "tools/npy.h"

typedef struct exn_ahead exn_ahead;

struct exn_dataset {
    exn_context *ctx;
    char *path; /* as given */
    const char *const *names;
    size_t class_count, side;
    bool skip_unknown;
    size_t count, skipped;
    int64_t *labels; /* NULL: all unlabelled */
    /* One of three sources: */
    char **files;      /* photos */
    exn_tensor pixels; /* N,H,W or N,H,W,3 */
    exn_npy *tensors;  /* N,C,H,W */
    /* What the last read or name handed out: */
    exn_picture picture;
    exn_ahead *ahead; /* NULL: photos are decoded when they are asked for */
    float *values;
    char *label_text;
};

/* Photos in a folder or its sub-folders. EXN_OK with count 0 when there are none. */
exn_status exn_dataset_from_folder(exn_dataset *data, const char *path);
/* IDX or .npy; labels NULL: look for the companion. */
exn_status exn_dataset_from_arrays(exn_dataset *data, const char *images, const char *labels);
/* Whether a file's name ends like an array's, ".npy" or "ubyte" or ".idx", with or without ".gz". */
bool exn_dataset_is_array(const char *name);
/* The names in a folder without hidden ones, in byte order; free with exn_dataset_free_names. */
exn_status exn_dataset_list(char ***out, size_t *count, exn_context *ctx, const char *path);
/* The photo, decoded beside those that come next; valid until another is asked for. */
exn_status exn_ahead_read(exn_picture **out, exn_dataset *data, size_t index);
void exn_ahead_close(exn_dataset *data);
char *exn_dataset_join(exn_context *ctx, const char *folder, const char *name);

#endif
