/* SPDX-License-Identifier: Apache-2.0
 * The runner: a plan of what the profile still needs, one input at a time. */
#include "train/profile.h"

#include <math.h>
#include <stdio.h>

struct exn_runner {
    exn_context *ctx;
    const exn_profile *profile;
    exn_network network;
    exn_plan *plan;
    exn_exec *exec;
    exn_resizer *resizer;
    exn_exit_rule *rules; /* of the network's exits */
    char message[EXN_MESSAGE_BYTES];
};

void exn_runner_destroy(exn_runner *runner) {
    if (!runner) return;
    exn_context *ctx = runner->ctx;
    if (runner->exec) exn_exec_destroy(runner->exec);
    if (runner->plan) exn_plan_destroy(runner->plan);
    if (runner->resizer) exn_resizer_destroy(runner->resizer);
    exn_network_destroy(&runner->network, ctx);
    exn_free(ctx, runner->rules);
    exn_free(ctx, runner);
}

const char *exn_runner_error(const exn_runner *runner) {
    return runner ? runner->message : "";
}

/* The untouched network answers at its own temperature, not at the personal one. */
static exn_status choose_network(exn_runner *runner, const exn_runner_options *options) {
    const exn_profile *profile = runner->profile;
    if (options->whole_network) {
        runner->rules[0] = (exn_exit_rule){.enabled = true, .temperature = 1.0f};
        return exn_network_build(&runner->network, profile, 1, EXN_NETWORK_UNTOUCHED);
    }
    EXN_TRY(exn_profile_rules(runner->rules, profile, options->target));
    EXN_TRY(exn_network_build_ruled(&runner->network, profile, 1, runner->rules));
    for (size_t i = 0; i < runner->network.exit_count; i++) runner->rules[i] = runner->rules[runner->network.exit[i]];
    return EXN_OK;
}

static exn_status set_up(exn_runner *runner, const exn_runner_options *options) {
    const exn_profile *profile = runner->profile;
    runner->rules = exn_calloc(runner->ctx, profile->exit_count, sizeof *runner->rules);
    if (!runner->rules) return EXN_E_NOMEM;
    EXN_TRY(choose_network(runner, options));
    const exn_plan_options plan_options = {.kernels = &profile->model->kernels,
                                           .threads =
                                               options->threads ? options->threads : exn_context_threads(runner->ctx),
                                           .arithmetic = EXN_EXACT,
                                           .outputs = runner->network.logits,
                                           .output_count = runner->network.exit_count};
    EXN_TRY(exn_plan_create(&runner->plan, runner->network.graph, &plan_options));
    EXN_TRY(exn_exec_create(&runner->exec, runner->ctx, runner->plan));
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

/* A failure of the context's is this runner's own. */
static exn_status keep_message(exn_runner *runner, exn_status status) {
    if (status != EXN_OK) exn_context_copy_error(runner->message, runner->ctx);
    return status;
}

/* The plan's input is filled in. */
static exn_status answer_input(exn_runner *runner, exn_answer *answer) {
    exn_leave leave;
    const double start = exn_now();
    exn_exec_run_exits(runner->exec, runner->rules, NULL, &leave); /* where it leaves: graph/run.c */
    const exn_answer full = {.label = leave.label,
                             .confidence = leave.confidence,
                             .exit = runner->network.exit[leave.exit],
                             .infer_ms = 1e3 * (exn_now() - start)};
    return keep_message(runner, exn_result_write(answer, runner->ctx, &full, sizeof full));
}

exn_status exn_runner_classify(exn_runner *runner, const exn_image *image, exn_answer *answer) {
    if (!runner) return EXN_E_INVALID;
    const exn_model *model = runner->profile->model;
    const exn_status status =
        exn_preprocess_image(exn_exec_input(runner->exec), runner->resizer, image, &runner->profile->preprocess,
                             model->height, model->width, model->channels);
    if (status != EXN_OK) return keep_message(runner, status);
    return answer_input(runner, answer);
}

exn_status exn_runner_classify_tensor(exn_runner *runner, const float *chw, exn_answer *answer) {
    if (!runner) return EXN_E_INVALID;
    if (!chw) {
        snprintf(runner->message, sizeof runner->message, "input: NULL");
        return EXN_E_INVALID;
    }
    const exn_model *model = runner->profile->model;
    const size_t count = model->channels * model->height * model->width;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(chw[i])) {
            snprintf(runner->message, sizeof runner->message, "input: element %zu is not finite", i);
            return EXN_E_INVALID;
        }
    exn_exec_set_nchw(runner->exec, chw);
    return answer_input(runner, answer);
}
