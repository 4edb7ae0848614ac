/* SPDX-License-Identifier: Apache-2.0
 * The runner: a plan of what the profile still needs, one input or a batch at a time. */
#include "train/runner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void exn_stage_destroy(exn_stage *stage, exn_context *ctx) {
    if (stage->exec) exn_exec_destroy(stage->exec);
    if (stage->plan) exn_plan_destroy(stage->plan);
    exn_network_destroy(&stage->network, ctx);
    exn_free(ctx, stage->rules);
    *stage = (exn_stage){0};
}

void exn_runner_destroy(exn_runner *runner) {
    if (!runner) return;
    exn_context *ctx = runner->ctx;
    exn_stage_destroy(&runner->stage, ctx);
    exn_stage_destroy(&runner->deep, ctx);
    if (runner->resizer) exn_resizer_destroy(runner->resizer);
    for (size_t r = 0; r < EXN_RUNGS; r++) exn_free(ctx, runner->rules[r]);
    exn_free(ctx, runner->leaves);
    exn_free(ctx, runner->input);
    exn_free(ctx, runner->logits);
    exn_free(ctx, runner->score);
    exn_free(ctx, runner->sinks);
    exn_free(ctx, runner);
}

const char *exn_runner_error(const exn_runner *runner) {
    return runner ? runner->message : "";
}

/* The untouched network answers at its own temperature, not at the personal one. */
static exn_status build_stage(exn_stage *stage, const exn_runner *runner, const exn_exit_rule *rules,
                              const char *packed) {
    const exn_profile *profile = runner->profile;
    stage->rules = exn_calloc(runner->ctx, profile->exit_count, sizeof *stage->rules);
    if (!stage->rules) return EXN_E_NOMEM;
    if (!rules) {
        stage->rules[0] = (exn_exit_rule){.enabled = true, .temperature = 1.0f};
        EXN_TRY(exn_network_build(&stage->network, profile, runner->batch, EXN_NETWORK_UNTOUCHED));
    } else {
        EXN_TRY(exn_network_build_ruled(&stage->network, profile, runner->batch, rules));
        for (size_t i = 0; i < stage->network.exit_count; i++) stage->rules[i] = rules[stage->network.exit[i]];
    }
    const exn_plan_options options = {.kernels = &profile->model->kernels,
                                      .threads = runner->threads,
                                      .arithmetic = EXN_EXACT,
                                      .outputs = stage->network.logits,
                                      .output_count = stage->network.exit_count,
                                      .packed = packed};
    EXN_TRY(exn_plan_create(&stage->plan, stage->network.graph, &options));
    EXN_TRY(exn_exec_create(&stage->exec, runner->ctx, stage->plan));
    return exn_exec_keep_scores(stage->exec);
}

exn_status exn_stage_create(exn_stage *out, const exn_runner *runner, const exn_exit_rule *rules, const char *packed) {
    exn_stage stage = {0};
    const exn_status status = build_stage(&stage, runner, rules, packed);
    if (status == EXN_OK)
        *out = stage;
    else
        exn_stage_destroy(&stage, runner->ctx);
    return status;
}

static exn_status set_up(exn_runner *runner, const exn_runner_options *options) {
    const exn_profile *profile = runner->profile;
    runner->threads = options->threads ? options->threads : exn_context_threads(runner->ctx);
    if (!(options->audit_share >= 0 && options->audit_share <= 1))
        return exn_fail(runner->ctx, EXN_E_INVALID, "a share of %g to audit", options->audit_share);
    runner->batch = options->batch ? options->batch : 1;
    if (runner->batch > 1 && options->audit_share > 0)
        return exn_fail(runner->ctx, EXN_E_UNSUPPORTED,
                        "audits of a batch: a runner that audits takes one input at a time");
    runner->leaves = exn_calloc(runner->ctx, runner->batch, sizeof *runner->leaves);
    if (!runner->leaves) return EXN_E_NOMEM;
    for (int r = EXN_RUNG_CASCADE; r < EXN_RUNGS; r++) {
        runner->rules[r] = exn_calloc(runner->ctx, profile->exit_count, sizeof *runner->rules[r]);
        if (!runner->rules[r]) return EXN_E_NOMEM;
        EXN_TRY(exn_profile_rules(runner->rules[r], profile, options->target));
    }
    runner->preprocess =
        options->whole_network ? profile->preprocess : exn_normalisation_fold(&profile->preprocess, &profile->normal);
    EXN_TRY(exn_runner_begin_watch(runner, options->target, options->whole_network ? 0 : options->audit_share));
    const exn_rung rung = options->whole_network ? EXN_RUNG_WHOLE : runner->bypass.rung;
    EXN_TRY(exn_stage_create(&runner->stage, runner, runner->rules[rung], options->packed));
    return exn_resizer_create(&runner->resizer, runner->ctx);
}

exn_status exn_runner_create(exn_runner **out, const exn_profile *profile, const exn_runner_options *options) {
    exn_runner_options filled;
    if (!profile) return EXN_E_INVALID;
    if (!out) return exn_fail(profile->ctx, EXN_E_INVALID, "exn_runner_create: out is NULL");
    EXN_TRY(exn_options_read(&filled, sizeof filled, profile->ctx, options));
    exn_runner *runner = exn_calloc(profile->ctx, 1, sizeof *runner);
    if (!runner) return EXN_E_NOMEM;
    runner->ctx = profile->ctx;
    runner->profile = profile;
    const exn_status status = set_up(runner, &filled);
    if (status == EXN_OK)
        *out = runner;
    else
        exn_runner_destroy(runner);
    return status;
}

exn_status exn_runner_keep_message(exn_runner *runner, exn_status status) {
    if (status != EXN_OK) exn_context_copy_error(runner->message, runner->ctx);
    return status;
}

/* The caller's answer i: how far apart they are says their struct_size, which a later header may have made larger. */
static exn_status write_answer(const exn_runner *runner, exn_answer *answers, size_t i, double ms) {
    const exn_leave *leave = &runner->leaves[i];
    const exn_answer full = {.label = leave->label,
                             .confidence = leave->confidence,
                             .exit = runner->stage.network.exit[leave->exit],
                             .infer_ms = ms,
                             .audit_due = runner->due};
    void *to = answers && i ? (char *)answers + i * answers->struct_size : (char *)answers;
    return exn_result_write(to, runner->ctx, &full, sizeof full);
}

static size_t input_floats(const exn_runner *runner) {
    const exn_model *model = runner->profile->model;
    return model->channels * model->height * model->width;
}

/* The first `count` inputs of the plan are filled in. A run may overwrite them, so what an audit will need is kept before. */
static exn_status answer_inputs(exn_runner *runner, size_t count, exn_answer *answers) {
    exn_exec *exec = runner->stage.exec;
    const size_t floats = input_floats(runner);
    float *const inputs = exn_exec_input(exec);
    if (runner->input && exn_bypass_due(&runner->bypass, &runner->expect)) {
        memcpy(runner->input, inputs, floats * sizeof *inputs);
        runner->due = true;
    }
    for (size_t i = count; i < runner->batch; i++) memcpy(inputs + i * floats, inputs, floats * sizeof *inputs);
    const double start = exn_now();
    exn_exec_run_exits(exec, runner->stage.rules, NULL, runner->leaves); /* where it leaves: graph/run.c */
    const double ms = 1e3 * (exn_now() - start) / (double)count;
    if (runner->input) exn_bypass_answered(&runner->bypass, &runner->expect, runner->leaves->confidence);
    exn_status status = EXN_OK;
    for (size_t i = 0; i < count && status == EXN_OK; i++) status = write_answer(runner, answers, i, ms);
    return exn_runner_keep_message(runner, status);
}

static exn_status set_image(exn_runner *runner, size_t sample, const exn_image *image) {
    const exn_model *model = runner->profile->model;
    float *const to = exn_exec_input(runner->stage.exec) + sample * input_floats(runner);
    const exn_status status = exn_preprocess_image(to, runner->resizer, image, &runner->preprocess, model->height,
                                                   model->width, model->channels);
    return exn_runner_keep_message(runner, status);
}

exn_status exn_runner_classify(exn_runner *runner, const exn_image *image, exn_answer *answer) {
    if (!runner) return EXN_E_INVALID;
    EXN_TRY(set_image(runner, 0, image));
    return answer_inputs(runner, 1, answer);
}

exn_status exn_runner_classify_batch(exn_runner *runner, const exn_image *images, size_t count, exn_answer *answers) {
    if (!runner) return EXN_E_INVALID;
    if (count && (!images || !answers)) {
        snprintf(runner->message, sizeof runner->message, "batch: %s is NULL", images ? "answers" : "images");
        return EXN_E_INVALID;
    }
    for (size_t first = 0; first < count;) {
        const size_t left = count - first, some = left < runner->batch ? left : runner->batch;
        for (size_t i = 0; i < some; i++) EXN_TRY(set_image(runner, i, images + first + i));
        EXN_TRY(
            answer_inputs(runner, some, first ? (void *)((char *)answers + first * answers->struct_size) : answers));
        first += some;
    }
    return EXN_OK;
}

exn_status exn_runner_classify_tensor(exn_runner *runner, const float *chw, exn_answer *answer) {
    if (!runner) return EXN_E_INVALID;
    if (!chw) {
        snprintf(runner->message, sizeof runner->message, "input: NULL");
        return EXN_E_INVALID;
    }
    const size_t floats = input_floats(runner);
    for (size_t i = 0; i < floats; i++)
        if (!isfinite(chw[i])) {
            snprintf(runner->message, sizeof runner->message, "input: element %zu is not finite", i);
            return EXN_E_INVALID;
        }
    exn_exec_set_sample(runner->stage.exec, 0, chw);
    return answer_inputs(runner, 1, answer);
}
