/* SPDX-License-Identifier: Apache-2.0
 * A model file opened: the mapped bytes, its operators as read, and one folded graph at batch 1 to ask questions of. */
#ifndef EXN_GRAPH_MODEL_H
#define EXN_GRAPH_MODEL_H

#include "core/file.h"
#include "graph/import.h"
#include "graph/ir.h"
#include "graph/taps.h"

struct exn_model {
    exn_context *ctx;
    char *path;
    exn_mapping file;
    exn_externals externals; /* further files that hold weights */
    exn_kernel_set kernels;  /* selected for the context */
    exn_graph *source;       /* as in the file, no shapes inferred but the input's declared one */
    exn_graph *graph;        /* at batch 1 and the default size: inferred, constants folded, operators fused */
    size_t channels, height, width, classes;
    exn_tap *taps; /* in order of cost; the last is the classifier's input; none if the network has no classifier */
    size_t tap_count;
    uint64_t macs, parameters;
    char graph_hash[EXN_HASH_TEXT_BYTES]; /* of the file without its mapped constants, and of its externals' sizes */
};

/* A graph for another batch or size: copied from the source, inferred, folded, fused. height, width 0: the model's.
 * The model must outlive it. */
exn_status exn_model_bind(exn_graph **out, const exn_model *model, size_t batch, size_t height, size_t width);
/* Hash of the file's bytes, and of its externals': reads all of them, which opening did not. */
void exn_model_hash(char text[EXN_HASH_TEXT_BYTES], const exn_model *model);

#endif
