/* SPDX-License-Identifier: Apache-2.0
 * Which nodes run, in which order, on whose behalf. */
#include "graph/schedule.h"

/* How many outputs need a node, and which was the last to ask. */
typedef struct exn_need {
    uint32_t count;
    size_t last, first;
} exn_need;

static void note_need(exn_need *need, size_t output) {
    if (need->count == 0) need->first = output;
    if (need->count == 0 || need->last != output) need->count++;
    need->last = output;
}

/* Walks backwards once: every consumer of a node comes after it. */
static void mark_needed(const exn_graph *graph, exn_value_id wanted, size_t output, exn_need *needs) {
    const uint32_t producer = graph->values[wanted].producer;
    if (producer == UINT32_MAX) return;
    note_need(&needs[producer], output);
    for (size_t n = graph->node_count; n-- > 0;) {
        if (needs[n].count == 0 || needs[n].last != output) continue;
        const exn_node *node = &graph->nodes[n];
        for (size_t i = 0; i < node->input_count; i++) {
            if (node->inputs[i] == EXN_VALUE_NONE) continue;
            const uint32_t from = graph->values[node->inputs[i]].producer;
            if (from != UINT32_MAX) note_need(&needs[from], output);
        }
    }
}

static void list_nodes(exn_schedule *schedule, const exn_need *needs, size_t node_count, size_t output_count) {
    for (size_t output = 0; output < output_count; output++) {
        for (size_t n = 0; n < node_count; n++) {
            if (needs[n].count == 0 || needs[n].first != output) continue;
            const bool own = needs[n].count == 1 && output + 1 < output_count;
            schedule->nodes[schedule->count] = (uint32_t)n;
            schedule->branch[schedule->count++] = own ? output + 1 : 0;
        }
        schedule->end[output] = schedule->count;
    }
}

exn_status exn_schedule_create(exn_schedule *out, const exn_graph *graph, const exn_value_id outputs[],
                               size_t output_count) {
    exn_context *ctx = graph->ctx;
    for (size_t i = 0; i < output_count; i++)
        if (outputs[i] >= graph->value_count)
            return exn_fail(ctx, EXN_E_INVALID, "plan: output %zu is not a value of the graph", i);
    exn_schedule schedule = {0};
    exn_need *needs = exn_calloc(ctx, graph->node_count, sizeof *needs);
    schedule.nodes = exn_calloc(ctx, graph->node_count, sizeof *schedule.nodes);
    schedule.branch = exn_calloc(ctx, graph->node_count, sizeof *schedule.branch);
    schedule.end = exn_calloc(ctx, output_count, sizeof *schedule.end);
    if (!needs || !schedule.nodes || !schedule.branch || !schedule.end) {
        exn_free(ctx, needs);
        exn_schedule_destroy(&schedule, ctx);
        return EXN_E_NOMEM;
    }
    for (size_t i = 0; i < output_count; i++) mark_needed(graph, outputs[i], i, needs);
    list_nodes(&schedule, needs, graph->node_count, output_count);
    exn_free(ctx, needs);
    *out = schedule;
    return EXN_OK;
}

void exn_schedule_destroy(exn_schedule *schedule, exn_context *ctx) {
    exn_free(ctx, schedule->nodes);
    exn_free(ctx, schedule->branch);
    exn_free(ctx, schedule->end);
    *schedule = (exn_schedule){0};
}
