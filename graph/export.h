/* SPDX-License-Identifier: Apache-2.0
 * From a graph back to ONNX: what the operators became while binding and folding, spelled out again in operators that every
 * runtime knows (opset 17).
 *
 * Weights are initialisers of the outermost graph, where subgraphs see them. Nodes are written where they are needed first: a
 * branch begun later may read whatever the graphs around it have computed. */
#ifndef EXN_GRAPH_EXPORT_H
#define EXN_GRAPH_EXPORT_H

#include "graph/ir.h"
#include "graph/message.h"

#define EXN_EXPORT_NAME_BYTES 32u

typedef struct exn_export {
    exn_context *ctx;
    const exn_graph *graph;
    exn_message *nodes; /* the GraphProto that nodes go into now: `outer`, or a branch's */
    exn_message outer;  /* fields of the outermost GraphProto */
    bool *written;      /* per value */
    bool *needed;       /* per value: scratch */
    const char *input;  /* name of what stands for the graph's input */
    size_t made;        /* made-up names so far */
    exn_status status;  /* of the first failure */
} exn_export;

/* An output that the file declares, or a branch hands on. */
typedef struct exn_export_port {
    const char *name;
    exn_dtype dtype;
    exn_shape shape;
} exn_export_port;

/* The graph is bound and must outlive the export. exn_export_free is legal after failure. */
exn_status exn_export_create(exn_export *out, const exn_graph *graph);
void exn_export_free(exn_export *e);
/* A name that no value of the graph has. */
void exn_export_fresh(char name[EXN_EXPORT_NAME_BYTES], exn_export *e);
/* Makes a value available where nodes go now, and returns its name; "" for EXN_VALUE_NONE. */
const char *exn_export_value(exn_export *e, exn_value_id id);
/* A constant that the graph does not have; copied. */
void exn_export_constant(char name[EXN_EXPORT_NAME_BYTES], exn_export *e, exn_dtype dtype, const exn_shape *shape,
                         const void *data);
/* A scalar, or a row of numbers. */
void exn_export_float(char name[EXN_EXPORT_NAME_BYTES], exn_export *e, float value);
void exn_export_int(char name[EXN_EXPORT_NAME_BYTES], exn_export *e, int64_t value);
void exn_export_ints(char name[EXN_EXPORT_NAME_BYTES], exn_export *e, const int64_t values[], size_t count);
/* Appends a node with one output. attributes: fields written by the functions below, taken over; NULL: none. */
void exn_export_op(exn_export *e, const char *op, const char *const inputs[], size_t input_count, const char *output,
                   exn_message *attributes);
void exn_export_ops(exn_export *e, const char *op, const char *const inputs[], size_t input_count,
                    const char *const outputs[], size_t output_count, exn_message *attributes);
void exn_attribute_int(exn_message *attributes, const char *name, int64_t value);
void exn_attribute_ints(exn_message *attributes, const char *name, const int64_t values[], size_t count);
void exn_attribute_float(exn_message *attributes, const char *name, float value);
/* graph: a GraphProto, taken over. */
void exn_attribute_graph(exn_message *attributes, const char *name, exn_message *graph);
/* Names a GraphProto and declares what it hands on. */
void exn_export_ports(exn_message *graph, const char *name, const exn_export_port ports[], size_t count);
/* Writes one operator of the graph; its inputs are written. (export_node.c) */
void exn_export_node(exn_export *e, const exn_node *node);
/* Declares the input and the outputs, and writes the file. metadata: `pairs` keys, each followed by its value. */
exn_status exn_export_save(exn_export *e, const exn_export_port ports[], size_t count, const char *const metadata[],
                           size_t pairs, const char *path);

#endif
