/* SPDX-License-Identifier: Apache-2.0
 * Binding, operator by operator, from the file's order. */
#include "graph/infer.h"

#include <string.h>

#include "graph/constfold.h"

/* Constants that binding may compute whatever the file's size; beyond, four times what the file holds. */
#define FOLD_ELEMENTS_FREE ((size_t)1 << 20)

static exn_infer_fn *const rules[EXN_OP_COUNT] = {
#define EXN_OP_ROW(op, least, most, rule, ...) [EXN_OP_##op] = exn_infer_##rule,
#include "graph/ops.inc"
#undef EXN_OP_ROW
};

exn_infer_fn *exn_infer_rule(exn_op op) {
    return rules[op];
}

const exn_value *exn_infer_input(const exn_infer *s, size_t i) {
    return i < s->in_count && s->in[i] != EXN_VALUE_NONE ? &s->graph->values[s->in[i]] : NULL;
}

exn_status exn_infer_integers(int64_t *out, size_t *count, const exn_infer *s, size_t i, size_t most) {
    const exn_value *value = exn_infer_input(s, i);
    if (value == NULL || value->data == NULL)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "input %zu is not known before the network runs", i);
    if ((value->dtype != EXN_I64 && value->dtype != EXN_I32) || value->shape.rank > 1)
        return exn_fail(s->ctx, EXN_E_FORMAT, "input %zu is not a list of whole numbers", i);
    *count = exn_shape_elements(&value->shape);
    if (*count > most)
        return exn_fail(s->ctx, EXN_E_SHAPE, "input %zu has %zu numbers, more than %zu", i, *count, most);
    for (size_t k = 0; k < *count; k++) out[k] = exn_value_i64(value, k);
    return EXN_OK;
}

exn_status exn_infer_floats(const exn_infer *s, size_t i, size_t rank) {
    const exn_value *value = exn_infer_input(s, i);
    if (value == NULL) return exn_fail(s->ctx, EXN_E_FORMAT, "input %zu is missing", i);
    if (value->dtype != EXN_F32)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "input %zu ('%s') is %s; float32 is supported", i, value->name,
                        exn_dtype_name(value->dtype));
    if (value->shape.rank != rank) {
        char text[EXN_SHAPE_TEXT_BYTES];
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "input %zu ('%s') is %s; rank %zu is supported", i, value->name,
                        exn_shape_text(text, &value->shape), rank);
    }
    return EXN_OK;
}

exn_status exn_infer_axis(size_t *out, const exn_infer *s, int64_t axis, size_t rank) {
    if (axis < -(int64_t)rank || axis >= (int64_t)rank)
        return exn_fail(s->ctx, EXN_E_SHAPE, "axis %lld of a tensor of rank %zu", (long long)axis, rank);
    *out = (size_t)(axis < 0 ? axis + (int64_t)rank : axis);
    return EXN_OK;
}

bool exn_infer_holds_samples(const exn_infer *s, const exn_value *x) {
    return s->batch != 1 && x->data == NULL && x->shape.rank > 0 && x->shape.dim[0] == s->batch;
}

exn_status exn_infer_keep_samples(const exn_infer *s, bool touches_axis_0) {
    if (!touches_axis_0 || !exn_infer_holds_samples(s, exn_infer_input(s, 0))) return EXN_OK;
    return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "it works across the %zu samples of the batch; batch 1 is supported",
                    s->batch);
}

exn_status exn_infer_spend(exn_infer *s, size_t count) {
    if (count > s->fold_budget)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED,
                        "constant arithmetic makes more elements than a file of this size needs");
    s->fold_budget -= count;
    return EXN_OK;
}

exn_status exn_infer_emit(exn_value_id *out, exn_infer *s, exn_op op, exn_value_id x, const exn_attrs *attrs,
                          const exn_shape *shape) {
    return exn_graph_node(out, s->graph, op, NULL, &x, 1, attrs, shape);
}

/* ---- the walk ---- */

/* Values of a bound graph, constants among them, as a multiple of the context's limit on nodes: EXN_ONNX_TENSORS, and two for
 * each node. */
#define VALUES 4u

/* Inputs that a rule may add to those that the file gives. */
#define ROOM 2u

typedef struct binder {
    exn_infer s;
    const exn_graph *source;
    exn_value_id *map;     /* source value -> bound value, EXN_VALUE_NONE: nobody makes it */
    exn_value_id *outputs; /* scratch for one node */
    const char **names;
} binder;

static exn_status bind_input(binder *b, size_t height, size_t width) {
    const exn_value *input = &b->source->values[b->source->input];
    exn_shape shape = input->shape;
    b->s.file_batch = shape.dim[0];
    shape.dim[0] = b->s.batch;
    if ((shape.dim[2] != 0 && height != 0 && shape.dim[2] != height) ||
        (shape.dim[3] != 0 && width != 0 && shape.dim[3] != width))
        return exn_fail(b->s.ctx, EXN_E_SHAPE, "input '%s' is fixed at %zux%zu by the file; %zux%zu is asked for",
                        input->name, shape.dim[2], shape.dim[3], height, width);
    if (shape.dim[2] == 0) shape.dim[2] = height;
    if (shape.dim[3] == 0) shape.dim[3] = width;
    size_t count;
    EXN_TRY(exn_shape_count(&count, b->s.ctx, &shape));
    if (count == 0) return exn_fail(b->s.ctx, EXN_E_INVALID, "batch, height and width must be at least 1");
    EXN_TRY(exn_graph_value(&b->s.graph->input, b->s.graph, input->name, EXN_F32, &shape));
    b->map[b->source->input] = b->s.graph->input;
    return EXN_OK;
}

/* Constants move over when a node first reads them. */
static exn_status bind_constant(binder *b, exn_value_id id) {
    const exn_value *value = &b->source->values[id];
    EXN_TRY(exn_graph_constant(&b->map[id], b->s.graph, value->name, value->dtype, &value->shape, value->data, false));
    b->s.graph->values[b->map[id]].mapped = value->mapped;
    return EXN_OK;
}

static exn_status gather_inputs(binder *b, const exn_node *node) {
    exn_infer *s = &b->s;
    for (size_t i = 0; i < node->input_count; i++) {
        const exn_value_id id = node->inputs[i];
        s->in[i] = EXN_VALUE_NONE;
        if (id == EXN_VALUE_NONE) continue;
        if (b->map[id] == EXN_VALUE_NONE && b->source->values[id].data != NULL) EXN_TRY(bind_constant(b, id));
        if (b->map[id] == EXN_VALUE_NONE)
            return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "it reads '%s', an output that is not supported",
                            b->source->values[id].name);
        s->in[i] = b->map[id];
    }
    s->in_count = node->input_count;
    return EXN_OK;
}

static bool all_constant(const exn_infer *s) {
    for (size_t i = 0; i < s->in_count; i++)
        if (s->in[i] != EXN_VALUE_NONE && s->graph->values[s->in[i]].data == NULL) return false;
    return true;
}

/* What is read from now on, element by element, has been looked at. Weights are looked at when they are packed, so that
 * those which no plan needs stay in the file. */
static exn_status check_constants(const exn_infer *s) {
    const bool weighs = (s->op == EXN_OP_Conv || s->op == EXN_OP_Gemm || s->op == EXN_OP_MatMul) && !all_constant(s);
    for (size_t i = 0; i < s->in_count; i++) {
        const exn_value *value = exn_infer_input(s, i);
        if (value != NULL && !(weighs && i == 1)) EXN_TRY(exn_value_check(s->ctx, value));
    }
    return EXN_OK;
}

static exn_status check_shapes(const exn_infer *s) {
    for (size_t i = 0; i < s->out_count; i++) {
        size_t count;
        EXN_TRY(exn_shape_count(&count, s->ctx, &s->shape[i]));
        if (count == 0 && s->dtype == EXN_F32) return exn_fail(s->ctx, EXN_E_SHAPE, "the result is empty");
    }
    return EXN_OK;
}

/* Planning takes as long as there are operators and values once formulas are taken apart. */
static exn_status check_counts(const exn_infer *s) {
    const size_t limit = exn_context_limits(s->ctx)->nodes;
    if (s->graph->node_count >= limit)
        return exn_fail(s->ctx, EXN_E_FORMAT,
                        "the network comes apart into more operators than the context's limit, %zu", limit);
    if (s->graph->value_count + s->out_count > VALUES * limit)
        return exn_fail(s->ctx, EXN_E_FORMAT, "more values than %u times the context's limit on nodes, %zu", VALUES,
                        limit);
    return EXN_OK;
}

static exn_status append_computed(exn_value_id *outputs, exn_infer *s, const char *const *names, const char *name) {
    if (s->dtype != EXN_F32)
        return exn_fail(s->ctx, EXN_E_UNSUPPORTED, "it computes %s; computed values are float32",
                        exn_dtype_name(s->dtype));
    EXN_TRY(check_counts(s));
    for (size_t i = 0; i < s->out_count; i++)
        EXN_TRY(exn_graph_value(&outputs[i], s->graph, names[i], EXN_F32, &s->shape[i]));
    return exn_graph_append(s->graph, s->op, name, s->in, s->in_count, outputs, s->out_count, &s->attrs);
}

/* One operator whose inputs and attributes are set. */
static exn_status settle(exn_value_id *outputs, exn_infer *s, const char *const *names, const char *name) {
    EXN_TRY(check_constants(s));
    s->dtype = EXN_F32;
    s->alias = s->more[0] = s->more[1] = EXN_VALUE_NONE;
    memset(s->shape, 0, s->out_count * sizeof *s->shape);
    EXN_TRY(rules[s->op](s));
    if (s->alias != EXN_VALUE_NONE) {
        outputs[0] = s->alias;
        return EXN_OK;
    }
    EXN_TRY(check_shapes(s));
    return all_constant(s) ? exn_constfold(outputs, s, names) : append_computed(outputs, s, names, name);
}

exn_status exn_infer_apply(exn_value_id *out, exn_infer *outer, exn_op op, const exn_attrs *attrs,
                           const exn_value_id in[], size_t count) {
    exn_value_id inputs[3 + ROOM] = {0};
    exn_shape shape;
    const char *const unnamed = NULL;
    exn_infer s = *outer;
    s.op = op;
    s.attrs = attrs != NULL ? *attrs : exn_op_attrs(op);
    s.in = inputs;
    s.in_count = count;
    s.shape = &shape;
    s.out_count = 1;
    memcpy(inputs, in, count * sizeof *in);
    const exn_status status = settle(out, &s, &unnamed, NULL);
    outer->fold_budget = s.fold_budget;
    return status;
}

static exn_status bind_node(binder *b, const exn_node *node) {
    exn_infer *s = &b->s;
    EXN_TRY(gather_inputs(b, node));
    s->op = node->op;
    s->attrs = node->attrs;
    s->out_count = node->op == EXN_OP_Split ? node->output_count : 1;
    for (size_t i = 0; i < s->out_count; i++) b->names[i] = b->source->values[node->outputs[i]].name;
    EXN_TRY(settle(b->outputs, s, b->names, node->name));
    for (size_t i = 0; i < s->out_count; i++) b->map[node->outputs[i]] = b->outputs[i];
    for (size_t i = s->out_count; i < node->output_count && i < 3; i++) b->map[node->outputs[i]] = s->more[i - 1];
    return EXN_OK;
}

static exn_status finish(binder *b) {
    exn_graph *graph = b->s.graph;
    graph->output = b->map[b->source->output];
    if (graph->output == EXN_VALUE_NONE || graph->output == graph->input || graph->values[graph->output].data != NULL)
        return exn_fail(b->s.ctx, EXN_E_UNSUPPORTED, "the output '%s' is not computed from the input",
                        b->source->values[b->source->output].name);
    const exn_shape *shape = &graph->values[graph->output].shape;
    if (shape->rank == 0 || shape->dim[0] != b->s.batch) {
        char text[EXN_SHAPE_TEXT_BYTES];
        return exn_fail(b->s.ctx, EXN_E_SHAPE, "the output '%s' is %s for a batch of %zu: no row for each sample",
                        graph->values[graph->output].name, exn_shape_text(text, shape), b->s.batch);
    }
    return exn_graph_prune(graph, NULL);
}

static exn_status walk(binder *b, size_t height, size_t width) {
    EXN_TRY(bind_input(b, height, width));
    for (size_t i = 0; i < b->source->node_count; i++) {
        const exn_node *node = &b->source->nodes[i];
        const exn_status status = bind_node(b, node);
        if (status != EXN_OK) return exn_fail_in(b->s.ctx, status, "node '%s' (%s)", node->name, exn_op_name(node->op));
    }
    return finish(b);
}

static exn_status allocate(binder *b, const exn_graph *source) {
    size_t most_in = 0, most_out = 1;
    for (size_t i = 0; i < source->node_count; i++) {
        most_in = source->nodes[i].input_count > most_in ? source->nodes[i].input_count : most_in;
        most_out = source->nodes[i].output_count > most_out ? source->nodes[i].output_count : most_out;
    }
    b->map = exn_malloc(b->s.ctx, source->value_count, sizeof *b->map);
    b->s.in = exn_calloc(b->s.ctx, most_in + ROOM, sizeof *b->s.in);
    b->s.shape = exn_calloc(b->s.ctx, most_out, sizeof *b->s.shape);
    b->outputs = exn_calloc(b->s.ctx, most_out, sizeof *b->outputs);
    b->names = exn_calloc(b->s.ctx, most_out, sizeof *b->names);
    if (b->map == NULL || b->s.in == NULL || b->s.shape == NULL || b->outputs == NULL || b->names == NULL)
        return EXN_E_NOMEM;
    b->s.fold_budget = FOLD_ELEMENTS_FREE;
    for (size_t i = 0; i < source->value_count; i++) {
        b->map[i] = EXN_VALUE_NONE;
        if (source->values[i].data != NULL) b->s.fold_budget += 4 * exn_shape_elements(&source->values[i].shape);
    }
    return exn_graph_create(&b->s.graph, b->s.ctx);
}

exn_status exn_graph_bind(exn_graph **out, const exn_graph *source, size_t batch, size_t height, size_t width) {
    exn_context *ctx = source->ctx;
    binder b = {.s = {.ctx = ctx, .batch = batch}, .source = source};
    exn_status status = allocate(&b, source);
    if (status == EXN_OK) status = walk(&b, height, width);
    exn_free(ctx, b.map);
    exn_free(ctx, b.s.in);
    exn_free(ctx, b.s.shape);
    exn_free(ctx, b.outputs);
    exn_free(ctx, (void *)b.names);
    if (status != EXN_OK) {
        exn_graph_destroy(b.s.graph);
        return status;
    }
    *out = b.s.graph;
    return EXN_OK;
}
