/* SPDX-License-Identifier: Apache-2.0
 * Extraction: what a record holds, and the plan that makes it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/trainer.h"

/* Runs whose least times are worth deciding by. */
#define TIMED_LEAST 12u

/* ---- what a record holds ---- */

static bool same_tensor(const exn_head *a, const exn_head *b, exn_head_tensor which) {
    exn_shape shape;
    const size_t count = exn_head_tensor_shape(&shape, a, which);
    return count == exn_head_tensor_shape(&shape, b, which) &&
           (!count || !memcmp(a->tensor[which], b->tensor[which], count * sizeof(float)));
}

static bool is_trunk(exn_head_tensor which) {
    return which != EXN_HEAD_MEAN && which != EXN_HEAD_INV_STD && which != EXN_HEAD_FC_WEIGHT &&
           which != EXN_HEAD_FC_BIAS;
}

/* Whether general data has trained what lies before the FC: no person's run changes it, so it is as frozen as the backbone. */
static bool trunk_is_frozen(const exn_exit *exit) {
    bool same = exn_head_stages(exit->head.kind) && exit->general.kind == exit->head.kind;
    for (int which = 0; same && which < EXN_HEAD_TENSORS; which++)
        same = !is_trunk((exn_head_tensor)which) || same_tensor(&exit->head, &exit->general, (exn_head_tensor)which);
    return same;
}

/* The logits, then the exits in their order. */
exn_status exn_trainer_lay_out(exn_trainer *trainer) {
    const exn_profile *profile = trainer->profile;
    const exn_model *model = profile->model;
    trainer->input_count = model->channels * model->height * model->width;
    trainer->cached = exn_calloc(trainer->ctx, profile->exit_count, sizeof *trainer->cached);
    if (!trainer->cached) return EXN_E_NOMEM;
    trainer->record_count = model->classes;
    for (size_t i = 0; i < profile->exit_count; i++) {
        const exn_exit *exit = &profile->exits[i];
        size_t h, w, c;
        const bool features = !trainer->whole_heads && trunk_is_frozen(exit);
        trainer->cached[i] = (exn_cached){.first = trainer->record_count, .features = features};
        trainer->record_count +=
            features ? exn_head_features(&exit->head) : exn_head_prefix_shape(&h, &w, &c, &exit->head);
    }
    trainer->input = exn_calloc(trainer->ctx, trainer->input_count, sizeof *trainer->input);
    trainer->record = exn_calloc(trainer->ctx, trainer->record_count, sizeof *trainer->record);
    trainer->sinks = exn_calloc(trainer->ctx, profile->exit_count + 1, sizeof *trainer->sinks);
    return trainer->input && trainer->record && trainer->sinks ? EXN_OK : EXN_E_NOMEM;
}

/* One hash over what stands before the FC. */
static uint64_t hash_trunk(const exn_head *head) {
    uint64_t hash = (uint64_t)head->kind;
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, (exn_head_tensor)which);
        if (count && is_trunk((exn_head_tensor)which))
            hash = exn_hash64(head->tensor[which], count * sizeof(float), hash);
    }
    return hash;
}

/* The network's bytes, arithmetic, where exits are attached, and what they read there. */
exn_status exn_trainer_key(char key[EXN_HASH_TEXT_BYTES], const exn_trainer *trainer) {
    const exn_profile *profile = trainer->profile;
    exn_context *ctx = trainer->ctx;
    size_t length = strlen(profile->network_hash) + 32;
    for (size_t i = 0; i < profile->exit_count; i++) length += strlen(profile->exits[i].tap) + 64;
    char *text = exn_malloc(ctx, length, 1);
    if (!text) return EXN_E_NOMEM;
    size_t used =
        (size_t)snprintf(text, length, "%s %s", profile->network_hash, trainer->kernels->fused ? "fused" : "rounded");
    for (size_t i = 0; i < profile->exit_count; i++) {
        const exn_exit *exit = &profile->exits[i];
        const exn_cached *at = &trainer->cached[i];
        used += (size_t)snprintf(text + used, length - used, "\n%zu %s", at->first, exit->tap);
        if (at->features)
            used += (size_t)snprintf(text + used, length - used, " %016llx",
                                     (unsigned long long)hash_trunk(&exit->general));
    }
    exn_hash_text(key, text, used);
    exn_free(ctx, text);
    return EXN_OK;
}

/* ---- the plan ---- */

/* What an exit's part of a record is made from: the prefix, or what the frozen trunk makes of it. */
static exn_status choose_output(exn_value_id *out, const exn_trainer *trainer, const exn_network *network,
                                size_t exit) {
    *out = network->prefix[exit];
    if (!trainer->cached[exit].features) return EXN_OK;
    return exn_head_append_features(out, network->graph, *out, &trainer->profile->exits[exit].general);
}

static exn_status make_plan(exn_trainer *trainer, const exn_network *network, exn_value_id *outputs) {
    const size_t exits = trainer->profile->exit_count;
    for (size_t i = 0; i < exits; i++) {
        EXN_TRY(choose_output(&outputs[i], trainer, network, i));
        trainer->sinks[i] = trainer->record + trainer->cached[i].first;
    }
    outputs[exits] = network->graph->output;
    trainer->sinks[exits] = trainer->record;
    const exn_plan_options options = {.kernels = trainer->kernels,
                                      .threads = exn_context_threads(trainer->ctx),
                                      .arithmetic = EXN_EXACT,
                                      .outputs = outputs,
                                      .output_count = exits + 1};
    EXN_TRY(exn_plan_create(&trainer->plan, network->graph, &options));
    trainer->extraction_bytes = exn_plan_arena(trainer->plan).bytes + exn_plan_packed_bytes(trainer->plan);
    return EXN_OK;
}

static exn_status start_timing(exn_trainer *trainer) {
    const size_t steps = exn_plan_step_count(trainer->plan);
    trainer->seconds = exn_malloc(trainer->ctx, steps, sizeof *trainer->seconds);
    for (size_t i = 0; trainer->seconds && i < steps; i++) trainer->seconds[i] = INFINITY;
    return trainer->seconds ? EXN_OK : EXN_E_NOMEM;
}

exn_status exn_trainer_begin_extraction(exn_trainer *trainer) {
    if (trainer->seconds) return EXN_OK;
    exn_trainer_end_extraction(trainer); /* of an attempt that failed half-way */
    exn_network network;
    EXN_TRY(exn_network_build(&network, trainer->profile, 1, EXN_NETWORK_ALL));
    exn_value_id *outputs = exn_calloc(trainer->ctx, trainer->profile->exit_count + 1, sizeof *outputs);
    exn_status status = outputs ? make_plan(trainer, &network, outputs) : EXN_E_NOMEM;
    exn_free(trainer->ctx, outputs);
    exn_network_destroy(&network, trainer->ctx);
    if (status == EXN_OK) status = exn_exec_create(&trainer->exec, trainer->ctx, trainer->plan);
    return status == EXN_OK ? start_timing(trainer) : status;
}

/* Costs that are known when extraction ends need no measuring of their own. */
static void keep_costs(exn_trainer *trainer) {
    const size_t early = trainer->profile->exit_count - 1;
    bool whole = !trainer->costs && !trainer->measured.exits && trainer->timed >= TIMED_LEAST;
    for (size_t i = 0; whole && i < early; i++) whole = trainer->cached[i].features;
    if (whole) (void)exn_costs_from_steps(&trainer->measured, trainer->profile, trainer->plan, trainer->seconds);
}

void exn_trainer_end_extraction(exn_trainer *trainer) {
    keep_costs(trainer);
    exn_free(trainer->ctx, trainer->seconds);
    trainer->seconds = NULL;
    trainer->timed = 0;
    if (trainer->exec) exn_exec_destroy(trainer->exec);
    if (trainer->plan) exn_plan_destroy(trainer->plan);
    trainer->exec = NULL;
    trainer->plan = NULL;
}

/* ---- samples ---- */

static exn_status extract(exn_trainer *trainer) {
    EXN_TRY(exn_trainer_begin_extraction(trainer));
    memcpy(exn_exec_input(trainer->exec), trainer->input, trainer->input_count * sizeof *trainer->input);
    exn_exec_run_timed(trainer->exec, trainer->sinks, trainer->seconds);
    trainer->timed++;
    for (size_t i = 0; i < trainer->record_count; i++)
        if (!isfinite(trainer->record[i]))
            return exn_fail(trainer->ctx, EXN_E_INVALID, "the network's features of this input are not finite");
    return exn_cache_prepare(trainer->cache, trainer->record);
}

exn_status exn_trainer_look(size_t *record, exn_trainer *trainer, const exn_content *content) {
    *record = exn_cache_find(trainer->cache, content);
    return *record == EXN_CACHE_MISSING ? extract(trainer) : EXN_OK;
}

exn_status exn_trainer_keep(size_t *record, exn_trainer *trainer, const exn_content *content) {
    if (*record == EXN_CACHE_MISSING) EXN_TRY(exn_cache_put(record, trainer->cache, content));
    exn_cache_hold(trainer->cache, *record);
    return EXN_OK;
}

exn_status exn_trainer_gather(size_t *record, exn_content *content, exn_trainer *trainer) {
    *content = exn_content_of(trainer->input, trainer->input_count);
    EXN_TRY(exn_trainer_look(record, trainer, content));
    return exn_trainer_keep(record, trainer, content);
}
