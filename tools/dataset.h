/* SPDX-License-Identifier: Apache-2.0
 * DATA arguments: folders of photos, pairs of IDX files, .npy arrays, as one list of samples in a fixed order.
 *
 *   FOLDER             one sub-folder of JPEG or PNG files per class, in byte order; or photos directly in it (unlabelled)
 *   IMAGES[,LABELS]    IDX files, plain or gzipped, or .npy arrays: images uint8 (N,H,W) or (N,H,W,3), or float32
 *                      (N,C,H,W) that is ready for the network; labels integers, -1 for unlabelled. Without LABELS, the
 *                      file of the same name with "labels" for "images" (and "idx1" for "idx3") is used if there is one
 *   FOLDER             with one such pair in it and no photos */
#ifndef EXN_TOOLS_DATASET_H
#define EXN_TOOLS_DATASET_H

#include "tools/image.h"

typedef struct exn_dataset exn_dataset;

/* names: of the classes in the order of the logits. Sub-folders are matched by name; where the names are just numbers ("0",
 * "1", ...) and there are as many sub-folders as classes, their byte order counts. */
exn_status exn_dataset_open(exn_dataset **out, exn_context *ctx, const char *path, const char *const *names,
                            size_t class_count);
typedef struct exn_dataset_wish {
    const char *const *names;
    size_t class_count;
    size_t side;       /* that photos are resized to, see exn_picture_load; 0: they are decoded in full */
    bool skip_unknown; /* folders that are no class are left out with a warning, and all of them may be */
} exn_dataset_wish;
exn_status exn_dataset_open_wished(exn_dataset **out, exn_context *ctx, const char *path, const exn_dataset_wish *wish);
size_t exn_dataset_skipped(const exn_dataset *data); /* photos in folders left out */
void exn_dataset_close(exn_dataset *data);
/* The names of a folder's sub-folders in byte order, none for anything else; free with exn_dataset_free_names. */
exn_status exn_dataset_classes(char ***out, size_t *count, exn_context *ctx, const char *path);
void exn_dataset_free_names(exn_context *ctx, char **names, size_t count);
size_t exn_dataset_count(const exn_dataset *data);
size_t exn_dataset_labelled(const exn_dataset *data); /* samples with a label */
/* 0 .. class_count-1, or EXN_UNLABELLED. */
int64_t exn_dataset_label(const exn_dataset *data, size_t index);
/* For messages; valid until the next call. */
const char *exn_dataset_name(exn_dataset *data, size_t index);

/* One sample: pixels, or values that are ready for the network. Owned by the data set, valid until the next read. */
typedef struct exn_datum {
    exn_image image;  /* pixels NULL: a tensor */
    const float *chw; /* NULL: an image */
    size_t c, h, w;   /* of the tensor */
} exn_datum;
exn_status exn_dataset_read(exn_datum *out, exn_dataset *data, size_t index);
/* The same for a network that takes c x h x w: EXN_E_SHAPE where a tensor is not that. */
exn_status exn_dataset_read_for(exn_datum *out, exn_dataset *data, size_t index, size_t c, size_t h, size_t w);
/* What becomes of a failed read. Of a photo that cannot be decoded: with skip a warning and EXN_OK, else a hint behind the message. */
exn_status exn_dataset_excuse(exn_dataset *data, exn_status status, bool skip);
/* From now on so many photos are decoded side by side: the one asked for and those after it. Arrays need none of it, and
 * one thread ends it. skip: NULL, or of each sample whether it will never be asked for; it must outlive the data set. */
exn_status exn_dataset_read_ahead(exn_dataset *data, size_t threads, const bool *skip);
/* Of a sample's content as stored, for splits that do not depend on names or order. */
exn_status exn_dataset_hash(uint64_t *out, exn_dataset *data, size_t index);

/* Sets held[i] for about `share` of the labelled samples of every class, chosen by content: equal content is never on both
 * sides, and a class with two samples or more keeps one at least on each. Returns how many through *held_count. */
exn_status exn_dataset_split(bool *held, size_t *held_count, exn_dataset *data, double share);

#endif
