/* SPDX-License-Identifier: Apache-2.0
 * From an ONNX file to a list of operators in their newest form, shapes still open.
 *
 * Whatever opset the file was written for, the graph speaks the newest one: what used to be an attribute (axes, split) has
 * become a constant input, a Softmax over flattened trailing dimensions has become Reshapes around a plain one. */
#ifndef EXN_GRAPH_IMPORT_H
#define EXN_GRAPH_IMPORT_H

#include "core/file.h"
#include "graph/ir.h"
#include "graph/onnx_decode.h"

#define EXN_ONNX_IR_MIN 3
#define EXN_ONNX_IR_MAX 13
#define EXN_ONNX_OPSET_MIN 11
#define EXN_ONNX_OPSET_MAX 25

/* Float constants of this size on stay unread in the mapped file until they are needed: exn_value's `mapped`. */
#define EXN_MAPPED_BYTES ((size_t)65536)

/* Files beside the model that hold weights, mapped on first use. */
typedef struct exn_external {
    char *location;
    exn_mapping mapping;
} exn_external;

typedef struct exn_externals {
    exn_external *items;
    size_t count, capacity;
} exn_externals;

void exn_externals_close(exn_externals *externals, exn_context *ctx);

/* Dimensions of the graph's input that the file leaves open are 0. The graph borrows from `file` and `externals`, which
 * must outlive it. Errors name the node or tensor. */
exn_status exn_import_onnx(exn_graph **out, exn_externals *externals, exn_context *ctx, const exn_mapping *file,
                           const char *path);

/* ---- between the parts of the importer ---- */

typedef struct exn_importer {
    exn_context *ctx;
    exn_onnx onnx;
    exn_graph *graph;
    exn_externals *externals;
    const char *path;
} exn_importer;

typedef struct exn_import_node { /* an operator being read */
    const exn_onnx_node *source;
    exn_op op;
    exn_attrs attrs;
    exn_value_id *inputs; /* room for two more than the file gives */
    size_t input_count;
} exn_import_node;

/* Terminated copy; EXN_E_FORMAT for names that are too long or hold control characters. */
exn_status exn_import_name(char name[EXN_ONNX_NAME_MAX + 1], exn_context *ctx, exn_onnx_text text);
/* Checks the number of inputs, fills in attrs, and turns attributes that newer opsets take as inputs into constants. */
exn_status exn_import_attributes(exn_importer *importer, exn_import_node *node);
/* Adds a tensor to the graph: borrowed where the file holds plain little-endian elements, else converted. name NULL:
 * made up. Floats that are not finite are refused, unless they are `mapped`. */
exn_status exn_import_tensor(exn_value_id *out, exn_importer *importer, const char *name,
                             const exn_onnx_tensor *tensor);
/* The constant that a Constant node stands for. */
exn_status exn_import_constant(exn_value_id *out, exn_importer *importer, const char *name, const exn_onnx_node *node);

#endif
