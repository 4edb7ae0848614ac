/* SPDX-License-Identifier: Apache-2.0
 * From an operator to the function that lowers it. */
#include "graph/lower.h"

static exn_status exn_lower_none(exn_lowering *l) {
    return exn_lower_fail(l, EXN_E_UNSUPPORTED, "is supported only where its result is known before running");
}

static exn_status exn_lower_cast(exn_lowering *l) {
    const exn_value *x = exn_lower_input(l, 0);
    if (!x || x->dtype != EXN_F32 || l->graph->values[l->node->outputs[0]].dtype != EXN_F32)
        return exn_lower_fail(l, EXN_E_UNSUPPORTED, "only float32 can be cast while running");
    return exn_lower_view(l);
}

typedef exn_status exn_lower_fn(exn_lowering *l);

static exn_lower_fn *const lower_of[EXN_OP_COUNT] = {
#define EXN_OP_ROW(op, least, most, rule, lowering) [EXN_OP_##op] = exn_lower_##lowering,
#include "graph/ops.inc"
#undef EXN_OP_ROW
};

exn_status exn_lower_node(exn_lowering *l, const exn_node *node, size_t branch) {
    l->node = node;
    l->branch = branch;
    if (node->input_count == 0 || node->inputs[0] == EXN_VALUE_NONE)
        return exn_lower_fail(l, EXN_E_INVALID, "the first input is absent");
    return lower_of[node->op](l);
}
