/* SPDX-License-Identifier: Apache-2.0
 * Plans for the part of a head after its prefix, fed from the cache batch by batch. */
#include "train/tail.h"

#include "graph/plan.h"
#include "graph/run.h"

#include <string.h>

#define BATCH 16u

static exn_status make_graph(exn_graph *graph, exn_tail what, const exn_head *head, bool features, size_t batch) {
    size_t h, w, c;
    exn_head_prefix_shape(&h, &w, &c, head);
    if (features) c = exn_head_features(head);
    const bool map = exn_head_keeps_map(head->kind) && !features;
    const exn_shape shape = exn_shape_of(map ? 4 : 2, (const size_t[]){batch, c, h, w});
    EXN_TRY(exn_graph_value(&graph->input, graph, "features", EXN_F32, &shape));
    if (features) return exn_head_append_fc(&graph->output, graph, graph->input, head);
    return what == EXN_TAIL_LOGITS ? exn_head_append_tail(&graph->output, graph, graph->input, head)
                                   : exn_head_append_features(&graph->output, graph, graph->input, head);
}

static exn_status make_plan(exn_plan **out, exn_tail what, exn_context *ctx, const exn_kernel_set *kernels,
                            const exn_head *head, bool features, size_t batch) {
    exn_graph *graph;
    EXN_TRY(exn_graph_create(&graph, ctx));
    exn_status status = make_graph(graph, what, head, features, batch);
    const exn_plan_options options = {
        .kernels = kernels, .threads = 1, .arithmetic = EXN_EXACT, .outputs = &graph->output, .output_count = 1};
    if (status == EXN_OK) status = exn_plan_create(out, graph, &options);
    exn_graph_destroy(graph);
    return status;
}

/* The last batch may be short: what is left in its other rows does not matter, rows do not mix. */
static exn_status run_batches(float *out, size_t row, float *made, exn_exec *exec, size_t prefix,
                              const exn_cache *cache, size_t first, const size_t *records, size_t count, size_t batch) {
    for (size_t begin = 0; begin < count; begin += batch) {
        const size_t rows = count - begin < batch ? count - begin : batch;
        float *input = exn_exec_input(exec);
        memset(input, 0, batch * prefix * sizeof *input);
        for (size_t i = 0; i < rows; i++)
            EXN_TRY(exn_cache_read(input + i * prefix, cache, records[begin + i], first, prefix));
        exn_exec_run(exec, &made);
        memcpy(out + begin * row, made, rows * row * sizeof *out);
    }
    return EXN_OK;
}

/* Without anything to compute, the features are the records themselves. */
static exn_status copy_records(float *out, size_t row, const exn_cache *cache, size_t first, const size_t *records,
                               size_t count) {
    for (size_t i = 0; i < count; i++) EXN_TRY(exn_cache_read(out + i * row, cache, records[i], first, row));
    return EXN_OK;
}

exn_status exn_tail_run(float *out, exn_tail what, exn_context *ctx, const exn_kernel_set *kernels,
                        const exn_head *head, const exn_cache *cache, exn_cached from, const size_t *records,
                        size_t count) {
    size_t h, w, c;
    const size_t read = from.features ? exn_head_features(head) : exn_head_prefix_shape(&h, &w, &c, head);
    const size_t row = what == EXN_TAIL_LOGITS ? head->classes : exn_head_features(head);
    const size_t batch = count < BATCH ? count : BATCH;
    if (!count) return EXN_OK;
    if (what == EXN_TAIL_FEATURES && (from.features || !exn_head_stages(head->kind)))
        return copy_records(out, row, cache, from.first, records, count);
    exn_plan *plan;
    exn_exec *exec = NULL;
    EXN_TRY(make_plan(&plan, what, ctx, kernels, head, from.features, batch));
    float *made = exn_malloc(ctx, batch * row, sizeof *made);
    exn_status status = made ? exn_exec_create(&exec, ctx, plan) : EXN_E_NOMEM;
    if (status == EXN_OK) status = run_batches(out, row, made, exec, read, cache, from.first, records, count, batch);
    exn_exec_destroy(exec);
    exn_free(ctx, made);
    exn_plan_destroy(plan);
    return status;
}
