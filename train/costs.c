/* SPDX-License-Identifier: Apache-2.0
 * Cost tables: measured, counted, or read. */
#include "train/costs.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define SCHEMA "exeunt.costs/1"
#define REPEATS 12u
#define DURATION_MAX 1e12 /* ms: sums and products of a table's numbers stay finite */

void exn_costs_free(exn_costs *costs, exn_context *ctx) {
    exn_free(ctx, costs->reach);
    exn_free(ctx, costs->head);
    exn_free(ctx, costs->source);
    *costs = (exn_costs){0};
}

double exn_costs_until(const exn_costs *costs, const bool *attached, size_t exit) {
    double cost = costs->reach[exit];
    for (size_t i = 0; i <= exit; i++)
        if (attached[i]) cost += costs->head[i];
    return cost;
}

/* ---- counted ---- */

static uint64_t macs_until(const exn_profile *profile, size_t exit) {
    const exn_model *model = profile->model;
    for (size_t i = 0; i < model->tap_count && exit + 1 < profile->exit_count; i++)
        if (!strcmp(model->taps[i].name, profile->exits[exit].tap)) return model->taps[i].macs;
    return model->macs;
}

static void count_macs(exn_costs *costs, const exn_profile *profile) {
    const double whole = (double)profile->model->macs;
    for (size_t i = 0; i < costs->exits; i++) {
        costs->reach[i] = (double)macs_until(profile, i) / whole;
        costs->head[i] = i + 1 < costs->exits ? (double)exn_head_macs(&profile->exits[i].head) / whole : 0;
    }
}

/* ---- measured ---- */

/* One plan with every head: each step's least time belongs to one head or to the backbone before the next tap. */
static void sum_steps(exn_costs *costs, const exn_plan *plan, const double *seconds) {
    double backbone = 0;
    size_t reached = 0; /* exits whose tap the backbone has already passed */
    for (size_t s = 0; s < exn_plan_step_count(plan); s++) {
        const exn_plan_step step = exn_plan_get_step(plan, s);
        const double ms = 1e3 * seconds[s];
        if (step.branch == 0) {
            backbone += ms;
            continue;
        }
        for (; reached < step.branch; reached++) costs->reach[reached] = backbone;
        costs->head[step.branch - 1] += ms;
    }
    for (; reached < costs->exits; reached++) costs->reach[reached] = backbone;
    costs->head[costs->exits - 1] = 0;
}

static exn_status measure_network(exn_costs *costs, const exn_profile *profile, const exn_network *network) {
    exn_context *ctx = profile->ctx;
    const exn_plan_options options = {.kernels = &profile->model->kernels,
                                      .threads = exn_context_threads(ctx),
                                      .arithmetic = EXN_EXACT,
                                      .outputs = network->logits,
                                      .output_count = network->exit_count};
    exn_plan *plan;
    exn_exec *exec = NULL;
    EXN_TRY(exn_plan_create(&plan, network->graph, &options));
    exn_status status = exn_exec_create(&exec, ctx, plan);
    double *seconds = exn_calloc(ctx, exn_plan_step_count(plan), sizeof *seconds);
    if (status == EXN_OK && !seconds) status = EXN_E_NOMEM;
    if (status == EXN_OK) {
        const exn_shape shape = exn_plan_input_shape(plan);
        memset(exn_exec_input(exec), 0, exn_shape_elements(&shape) * sizeof(float));
        exn_exec_profile(exec, REPEATS, seconds);
        sum_steps(costs, plan, seconds);
    }
    exn_free(ctx, seconds);
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    return status;
}

exn_status exn_costs_from_steps(exn_costs *out, const exn_profile *profile, const exn_plan *plan,
                                const double *seconds) {
    exn_context *ctx = profile->ctx;
    exn_costs costs = {.exits = profile->exit_count, .in_ms = true};
    costs.reach = exn_calloc(ctx, costs.exits, sizeof *costs.reach);
    costs.head = exn_calloc(ctx, costs.exits, sizeof *costs.head);
    costs.source = exn_strdup(ctx, "measured");
    if (!costs.reach || !costs.head || !costs.source) {
        exn_costs_free(&costs, ctx);
        return EXN_E_NOMEM;
    }
    sum_steps(&costs, plan, seconds);
    const double rate = costs.reach[costs.exits - 1] / (double)profile->model->macs;
    for (size_t i = 0; i + 1 < costs.exits; i++) {
        const exn_head *head = &profile->exits[i].head;
        costs.head[i] += rate * (double)(head->classes * exn_head_features(head));
    }
    *out = costs;
    return EXN_OK;
}

static exn_status measure(exn_costs *costs, const exn_profile *profile) {
    exn_network network;
    EXN_TRY(exn_network_build(&network, profile, 1, EXN_NETWORK_ALL));
    const exn_status status = measure_network(costs, profile, &network);
    exn_network_destroy(&network, profile->ctx);
    return status;
}

/* ---- read ---- */

static exn_status read_numbers(double *out, exn_context *ctx, const json_t *array, size_t count, const char *field) {
    if (json_array_size(array) != count)
        return exn_fail(ctx, EXN_E_FORMAT, "%s: %zu numbers are needed, one an early exit", field, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(array, i);
        out[i] = json_number_value(value);
        if (!json_is_number(value) || !(out[i] >= 0) || out[i] > DURATION_MAX)
            return exn_fail(ctx, EXN_E_FORMAT, "%s: element %zu is no duration", field, i);
    }
    return EXN_OK;
}

static exn_status fill_from(exn_costs *costs, const exn_profile *profile, const json_t *root) {
    exn_context *ctx = profile->ctx;
    const size_t early = costs->exits - 1;
    const char *schema = json_string_value(json_object_get(root, "schema"));
    const json_t *heads = json_object_get(root, "heads"), *full = json_object_get(root, "full");
    if (!schema || strcmp(schema, SCHEMA) != 0) return exn_fail(ctx, EXN_E_FORMAT, "schema is not " SCHEMA);
    EXN_TRY(read_numbers(costs->reach, ctx, json_object_get(root, "exits"), early, "exits"));
    costs->reach[early] = json_number_value(full);
    if (!(costs->reach[early] > 0) || costs->reach[early] > DURATION_MAX)
        return exn_fail(ctx, EXN_E_FORMAT, "full is no duration");
    if (heads) EXN_TRY(read_numbers(costs->head, ctx, heads, early, "heads"));
    for (size_t i = 0; i < early; i++) {
        const double macs = (double)exn_head_macs(&profile->exits[i].head);
        if (!heads) costs->head[i] = costs->reach[i] * macs / (macs + (double)macs_until(profile, i));
        if (costs->head[i] > costs->reach[i])
            return exn_fail(ctx, EXN_E_FORMAT, "heads: element %zu exceeds its exit", i);
        costs->reach[i] -= costs->head[i];
    }
    return EXN_OK;
}

static exn_status read_file(exn_costs *costs, const exn_profile *profile, const char *path) {
    exn_mapping file;
    json_error_t error;
    EXN_TRY(exn_mapping_open(&file, profile->ctx, path));
    json_t *root = json_loadb(file.size ? (const char *)file.bytes : "", file.size, JSON_REJECT_DUPLICATES, &error);
    exn_mapping_close(&file);
    exn_status status = root ? fill_from(costs, profile, root)
                             : exn_fail(profile->ctx, EXN_E_FORMAT, "line %d: %.100s", error.line, error.text);
    json_decref(root);
    return status == EXN_OK ? status : exn_fail_in(profile->ctx, status, "%s", path);
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static exn_status fill(exn_costs *costs, const exn_profile *profile, const char *wish) {
    exn_context *ctx = profile->ctx;
    costs->reach = exn_calloc(ctx, costs->exits, sizeof *costs->reach);
    costs->head = exn_calloc(ctx, costs->exits, sizeof *costs->head);
    costs->source = exn_strdup(ctx, wish ? file_name(wish) : "measured");
    if (!costs->reach || !costs->head || !costs->source) return EXN_E_NOMEM;
    if (!exn_name_is_clean(costs->source)) /* the profile will keep it */
        return exn_fail(ctx, EXN_E_INVALID, "%s: a cost table needs a name in UTF-8", wish);
    costs->in_ms = !wish || strcmp(wish, "macs") != 0;
    if (!wish) return measure(costs, profile);
    if (costs->in_ms) return read_file(costs, profile, wish);
    count_macs(costs, profile);
    return EXN_OK;
}

exn_status exn_costs_get(exn_costs *out, const exn_profile *profile, const char *wish) {
    exn_costs costs = {.exits = profile->exit_count};
    const exn_status status = fill(&costs, profile, wish);
    if (status == EXN_OK)
        *out = costs;
    else
        exn_costs_free(&costs, profile->ctx);
    return status;
}
