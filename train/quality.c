/* SPDX-License-Identifier: Apache-2.0
 * Predictions of heads on cached features, and figures about them. */
#include "train/quality.h"

#include "graph/plan.h"
#include "graph/run.h"
#include "kernels/elementwise.h"

#include <math.h>
#include <string.h>

#define PREDICT_BATCH 16u

/* ---- prediction ---- */

static exn_status tail_graph(exn_graph *graph, const exn_head *head, size_t batch) {
    size_t h, w, c;
    exn_head_prefix_shape(&h, &w, &c, head);
    const bool map = exn_head_keeps_map(head->kind);
    const exn_shape shape = exn_shape_of(map ? 4 : 2, (const size_t[]){batch, c, h, w});
    EXN_TRY(exn_graph_value(&graph->input, graph, "features", EXN_F32, &shape));
    return exn_head_append_tail(&graph->output, graph, graph->input, head);
}

static exn_status plan_tail(exn_plan **out, exn_context *ctx, const exn_kernel_set *kernels, const exn_head *head,
                            size_t batch) {
    exn_graph *graph;
    EXN_TRY(exn_graph_create(&graph, ctx));
    exn_status status = tail_graph(graph, head, batch);
    const exn_plan_options options = {
        .kernels = kernels, .threads = 1, .arithmetic = EXN_EXACT, .outputs = &graph->output, .output_count = 1};
    if (status == EXN_OK) status = exn_plan_create(out, graph, &options);
    exn_graph_destroy(graph);
    return status;
}

/* The last batch may be short: what is left in its other rows does not matter, rows do not mix. */
static exn_status predict_batches(float *out, float *logits, exn_exec *exec, const exn_head *head,
                                  const exn_cache *cache, size_t first, const size_t *records, size_t count,
                                  size_t batch) {
    size_t h, w, c;
    const size_t prefix = exn_head_prefix_shape(&h, &w, &c, head);
    for (size_t begin = 0; begin < count; begin += batch) {
        const size_t rows = count - begin < batch ? count - begin : batch;
        float *input = exn_exec_input(exec);
        memset(input, 0, batch * prefix * sizeof *input);
        for (size_t i = 0; i < rows; i++)
            EXN_TRY(exn_cache_read(input + i * prefix, cache, records[begin + i], first, prefix));
        exn_exec_run(exec, &logits);
        memcpy(out + begin * head->classes, logits, rows * head->classes * sizeof *out);
    }
    return EXN_OK;
}

exn_status exn_predict(float *out, exn_context *ctx, const exn_kernel_set *kernels, const exn_head *head,
                       const exn_cache *cache, size_t first, const size_t *records, size_t count) {
    if (!count) return EXN_OK;
    const size_t batch = count < PREDICT_BATCH ? count : PREDICT_BATCH;
    exn_plan *plan;
    exn_exec *exec = NULL;
    EXN_TRY(plan_tail(&plan, ctx, kernels, head, batch));
    float *logits = exn_malloc(ctx, batch * head->classes, sizeof *logits);
    exn_status status = logits ? exn_exec_create(&exec, ctx, plan) : EXN_E_NOMEM;
    if (status == EXN_OK) status = predict_batches(out, logits, exec, head, cache, first, records, count, batch);
    exn_exec_destroy(exec);
    exn_free(ctx, logits);
    exn_plan_destroy(plan);
    return status;
}

/* ---- figures ---- */

static void scale_row(float *out, const exn_f32_vector *vector, const float *logits, size_t classes,
                      float temperature) {
    const float inverse = 1.0f / temperature;
    vector->binary(EXN_MUL, classes, logits, 1, &inverse, 0, out);
}

void exn_probabilities(float *out, const exn_f32_vector *vector, const float *logits, size_t rows, size_t classes,
                       float temperature) {
    for (size_t r = 0; r < rows; r++) {
        float *row = out + r * classes;
        scale_row(row, vector, logits + r * classes, classes, temperature);
        exn_softmax(vector, false, 1, classes, 1, row, row, exn_part_whole());
    }
}

size_t exn_best_class(const float *logits, size_t classes) {
    size_t best = 0;
    for (size_t i = 1; i < classes; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

size_t exn_count_labelled(const exn_judged *judged) {
    size_t count = 0;
    for (size_t r = 0; r < judged->rows; r++) count += judged->label[r] != EXN_UNLABELLED;
    return count;
}

size_t exn_count_right(const exn_judged *judged) {
    size_t right = 0;
    for (size_t r = 0; r < judged->rows; r++)
        right += judged->label[r] == (int64_t)exn_best_class(judged->logits + r * judged->classes, judged->classes);
    return right;
}

double exn_mean_nll(const exn_judged *judged, const exn_f32_vector *vector, float temperature, float *scratch) {
    double sum = 0;
    size_t count = 0;
    for (size_t r = 0; r < judged->rows; r++) {
        if (judged->label[r] == EXN_UNLABELLED) continue;
        scale_row(scratch, vector, judged->logits + r * judged->classes, judged->classes, temperature);
        exn_softmax(vector, true, 1, judged->classes, 1, scratch, scratch, exn_part_whole());
        sum -= (double)scratch[judged->label[r]];
        count++;
    }
    return count ? sum / (double)count : (double)NAN;
}

float exn_fit_temperature(const exn_judged *judged, const exn_f32_vector *vector, float prior, float *scratch) {
    static const float grid[] = {0.4f,  0.5f, 0.6f, 0.7f, 0.8f, 0.9f,  1.0f, 1.1f,
                                 1.25f, 1.4f, 1.6f, 1.8f, 2.0f, 2.25f, 2.5f};
    if (!exn_count_labelled(judged)) return prior;
    float best = prior;
    double least = INFINITY;
    for (size_t i = 0; i < sizeof grid / sizeof *grid; i++) {
        const double nll = exn_mean_nll(judged, vector, grid[i], scratch);
        if (!(nll < least)) continue;
        least = nll;
        best = grid[i];
    }
    return sqrtf(best * prior);
}
