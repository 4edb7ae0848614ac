/* SPDX-License-Identifier: Apache-2.0
 * Audits: the sample that was answered early is run to the end, and the state machine in bypass.c draws the consequences. */
#include "train/runner.h"

#include "core/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES 24u
#define CASCADE_THRESHOLD 0.9f /* of an exit that only served as an end */

/* ---- creation ---- */

/* The cascade is the point without its end. The other target's point, if it has none, says from which confidence on that exit may
 * take a sample. */
static exn_policy without_end(const exn_policy *point, const exn_policy *keep, size_t exits) {
    exn_policy cascade = *point;
    for (size_t i = 0; i + 1 < exits; i++) {
        if (!cascade.enabled[i] || cascade.threshold[i] > 0) continue;
        const bool known = keep->judged && keep->enabled[i] && keep->threshold[i] > 0;
        cascade.threshold[i] = known ? keep->threshold[i] : CASCADE_THRESHOLD;
    }
    return cascade;
}

exn_status exn_runner_begin_watch(exn_runner *runner, exn_target target, double share) {
    const exn_profile *profile = runner->profile;
    const size_t exits = profile->exit_count, classes = profile->class_count;
    const exn_policy *point = &profile->point[(target ? target : profile->target) - 1];
    runner->expect = (exn_bypass_plan){.top = EXN_RUNG_CUT};
    runner->bypass = exn_bypass_begin(&runner->expect);
    if (!(share > 0) || !point->judged) return EXN_OK;
    const exn_policy cascade = without_end(point, &profile->point[EXN_TARGET_KEEP - 1], exits);
    runner->expect = exn_bypass_expect(point, &cascade, exits, share, profile->seed);
    runner->bypass = exn_bypass_begin(&runner->expect);
    exn_point_rules(runner->rules[EXN_RUNG_CASCADE], profile, &cascade);
    const exn_model *model = profile->model;
    runner->input = exn_calloc(runner->ctx, model->channels * model->height * model->width, sizeof *runner->input);
    runner->logits = exn_calloc(runner->ctx, exits * classes, sizeof *runner->logits);
    runner->score = exn_calloc(runner->ctx, classes, sizeof *runner->score);
    runner->sinks = exn_calloc(runner->ctx, exits, sizeof *runner->sinks);
    return runner->input && runner->logits && runner->score && runner->sinks ? EXN_OK : EXN_E_NOMEM;
}

/* ---- one audit ---- */

/* Every exit of either rung, and the last: none of them is an end. */
static exn_status make_deep(exn_runner *runner) {
    exn_exit_rule *all = exn_calloc(runner->ctx, runner->profile->exit_count, sizeof *all);
    if (!all) return EXN_E_NOMEM;
    for (size_t i = 0; i < runner->profile->exit_count; i++) {
        all[i] = runner->rules[EXN_RUNG_CUT][i];
        all[i].enabled |= runner->rules[EXN_RUNG_CASCADE][i].enabled;
        all[i].threshold = 1;
    }
    const exn_status status = exn_stage_create(&runner->deep, runner, all, NULL);
    exn_free(runner->ctx, all);
    for (size_t i = 0; status == EXN_OK && i < runner->deep.network.exit_count; i++)
        runner->sinks[i] = runner->logits + i * runner->profile->class_count;
    return status;
}

/* Whether a rung would have answered otherwise than it would have at the last exit, from the logits of the deep network. */
static bool answers_differ(const exn_runner *runner, exn_rung rung) {
    const exn_network *network = &runner->deep.network;
    const size_t classes = runner->profile->class_count;
    size_t answer = SIZE_MAX, label = 0;
    for (size_t i = 0; i < network->exit_count; i++) {
        const exn_exit_rule *rule = &runner->rules[rung][network->exit[i]];
        if (!rule->enabled && i + 1 < network->exit_count) continue;
        exn_exit_score(runner->score, runner->logits + i * classes, classes, rule);
        const float confidence = exn_confidence(&label, &runner->profile->model->kernels, runner->score, classes, 1.0f);
        if (answer == SIZE_MAX && exn_exit_takes(rule, confidence)) answer = label;
    }
    return answer != SIZE_MAX && answer != label;
}

static exn_status look_deeper(bool differs[EXN_RUNGS], exn_runner *runner) {
    const exn_model *model = runner->profile->model;
    if (!runner->deep.exec) EXN_TRY(make_deep(runner));
    memcpy(exn_exec_input(runner->deep.exec), runner->input,
           model->channels * model->height * model->width * sizeof *runner->input);
    exn_exec_run(runner->deep.exec, runner->sinks);
    differs[EXN_RUNG_WHOLE] = false;
    for (int r = EXN_RUNG_CASCADE; r < EXN_RUNGS; r++) differs[r] = answers_differ(runner, (exn_rung)r);
    return EXN_OK;
}

/* The old plan stays where the new one cannot be made. */
static exn_status move_to(exn_runner *runner, const exn_bypass *next) {
    exn_stage stage;
    if (next->rung != runner->bypass.rung) {
        EXN_TRY(exn_stage_create(&stage, runner, runner->rules[next->rung], NULL));
        exn_stage_destroy(&runner->stage, runner->ctx);
        runner->stage = stage;
    }
    runner->bypass = *next;
    return EXN_OK;
}

static exn_status audit(exn_runner *runner) {
    bool differs[EXN_RUNGS];
    exn_bypass next = runner->bypass;
    EXN_TRY(look_deeper(differs, runner));
    exn_bypass_audited(&next, &runner->expect, differs);
    EXN_TRY(move_to(runner, &next));
    runner->due = false;
    if (runner->bypass.rung == EXN_RUNG_CUT && !runner->bypass.alert) exn_stage_destroy(&runner->deep, runner->ctx);
    return EXN_OK;
}

exn_status exn_runner_audit(exn_runner *runner, exn_watch *watch) {
    if (!runner) return EXN_E_INVALID;
    if (runner->due) {
        const exn_status status = audit(runner);
        if (status != EXN_OK) return exn_runner_keep_message(runner, status);
    }
    const exn_network *network = &runner->stage.network;
    const exn_bypass *b = &runner->bypass;
    const exn_watch full = {.rung = (size_t)b->rung,
                            .deepest_exit = network->exit[network->exit_count - 1],
                            .alert = b->alert > 0,
                            .inputs = b->inputs,
                            .audits = b->audits,
                            .differing = b->differing,
                            .alerts = b->alerts,
                            .rollbacks = b->rollbacks,
                            .advances = b->advances};
    return watch ? exn_runner_keep_message(runner, exn_result_write(watch, runner->ctx, &full, sizeof full)) : EXN_OK;
}

/* ---- the state between two runners ---- */

static uint64_t hash_head(const exn_head *head, uint64_t hash) {
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, (exn_head_tensor)which);
        if (count) hash = exn_hash64(head->tensor[which], count * sizeof(float), hash);
    }
    return hash;
}

static uint64_t hash_rules(const exn_exit_rule *rules, size_t exits, uint64_t hash) {
    for (size_t i = 0; i < exits; i++) {
        const float numbers[] = {rules[i].enabled ? 1.0f : 0.0f, rules[i].temperature, rules[i].threshold,
                                 rules[i].carry};
        hash = exn_hash64(numbers, sizeof numbers, hash);
    }
    return hash;
}

/* Another person, another training, camera or target begins anew: all that an answer on any rung follows from, but the input. */
static void make_key(char key[KEY_BYTES], const exn_runner *runner) {
    const exn_profile *profile = runner->profile;
    const exn_preprocess *seen = &runner->preprocess;
    uint64_t hash = exn_hash64(profile->network_hash, strlen(profile->network_hash), 0);
    const uint64_t photo[] = {seen->size, (uint64_t)seen->order};
    hash = exn_hash64(photo, sizeof photo, hash);
    hash = exn_hash64(seen->mean, sizeof seen->mean, hash);
    hash = exn_hash64(seen->deviation, sizeof seen->deviation, hash);
    for (int r = EXN_RUNG_CASCADE; r < EXN_RUNGS; r++) hash = hash_rules(runner->rules[r], profile->exit_count, hash);
    for (size_t i = 0; i < profile->exit_count; i++) {
        const exn_exit *e = &profile->exits[i];
        const uint64_t kind[] = {(uint64_t)e->head.kind, e->trained};
        hash = exn_hash64(e->tap, strlen(e->tap), hash);
        hash = hash_head(&e->head, exn_hash64(kind, sizeof kind, hash));
    }
    snprintf(key, KEY_BYTES, "%016" PRIx64, hash);
}

static exn_status save(const exn_runner *runner, const char *path) {
    char key[KEY_BYTES], *text;
    make_key(key, runner);
    if (!exn_bypass_write(&text, &runner->bypass, key)) return EXN_E_NOMEM;
    const exn_status status = exn_file_replace(runner->ctx, path, text, strlen(text));
    free(text);
    return status;
}

exn_status exn_runner_save_watch(exn_runner *runner, const char *path) {
    if (!runner || !path) return EXN_E_INVALID;
    return exn_runner_keep_message(runner, save(runner, path));
}

static exn_status load(exn_runner *runner, const char *path) {
    char key[KEY_BYTES];
    exn_mapping file;
    exn_bypass next;
    make_key(key, runner);
    EXN_TRY(exn_mapping_open(&file, runner->ctx, path));
    const bool good =
        exn_bypass_read(&next, &runner->expect, key, file.size ? (const char *)file.bytes : "", file.size);
    exn_mapping_close(&file);
    if (!good) return exn_fail(runner->ctx, EXN_E_FORMAT, "%s: not what a runner watched", path);
    return move_to(runner, &next);
}

exn_status exn_runner_load_watch(exn_runner *runner, const char *path) {
    if (!runner || !path) return EXN_E_INVALID;
    if (!runner->input) return EXN_OK; /* nothing is audited */
    return exn_runner_keep_message(runner, load(runner, path));
}
