/* SPDX-License-Identifier: Apache-2.0
 * Running a plan on its threads, and deciding at each exit who leaves. */
#include "graph/run.h"

#include "graph/step.h"

#include <math.h>
#include <string.h>

/* What the threads do at once: a step, or the first or second half of one. */
typedef struct exn_link {
    const exn_step *step;
    exn_step_fn *run;
    bool last; /* completes the step */
} exn_link;

struct exn_exec {
    exn_context *ctx;
    const exn_plan *plan;
    exn_link *links;
    size_t link_count;
    exn_pool *pool; /* NULL with one thread */
    unsigned char *arena;
    float *scores; /* [samples][most classes]; NULL: nothing is carried */
    size_t score_count;
};

/* One run as its threads share it. */
typedef struct exn_job {
    const exn_plan *plan;
    const exn_link *links;
    exn_exec_view view;
    float *const *sinks;        /* NULL: none */
    const exn_exit_rule *rules; /* NULL: run to the end */
    exn_leave *leaves;
    float *scores; /* [samples][score_count], or NULL */
    size_t score_count;
    double *seconds; /* profiling: least time of each step */
    double started;
    bool stop; /* touched between links only */
} exn_job;

static exn_status list_links(exn_exec *exec) {
    const exn_plan *plan = exec->plan;
    size_t count = plan->step_count;
    for (size_t s = 0; s < plan->step_count; s++) count += plan->steps[s].then != NULL;
    exec->links = exn_calloc(exec->ctx, count, sizeof *exec->links);
    if (!exec->links) return EXN_E_NOMEM;
    for (size_t s = 0; s < plan->step_count; s++) {
        const exn_step *step = &plan->steps[s];
        exec->links[exec->link_count++] = (exn_link){step, step->run, !step->then};
        if (step->then) exec->links[exec->link_count++] = (exn_link){step, step->then, true};
    }
    return EXN_OK;
}

exn_status exn_exec_create(exn_exec **out, exn_context *ctx, const exn_plan *plan) {
    exn_exec *exec = exn_calloc(ctx, 1, sizeof *exec);
    if (!exec) return EXN_E_NOMEM;
    exec->ctx = ctx;
    exec->plan = plan;
    exec->arena = exn_calloc(ctx, plan->arena.bytes, 1);
    exn_status status = exec->arena ? list_links(exec) : EXN_E_NOMEM;
    if (status == EXN_OK && plan->threads > 1) status = exn_pool_create(&exec->pool, ctx, plan->threads);
    if (status != EXN_OK) {
        exn_exec_destroy(exec);
        return status;
    }
    *out = exec;
    return EXN_OK;
}

void exn_exec_destroy(exn_exec *exec) {
    if (!exec) return;
    exn_pool_destroy(exec->pool);
    exn_free(exec->ctx, exec->arena);
    exn_free(exec->ctx, exec->links);
    exn_free(exec->ctx, exec->scores);
    exn_free(exec->ctx, exec);
}

exn_status exn_exec_keep_scores(exn_exec *exec) {
    const exn_plan *plan = exec->plan;
    const size_t samples = plan->input_shape.dim[0];
    if (exec->scores || !samples) return EXN_OK;
    size_t most = 0;
    for (size_t i = 0; i < plan->output_count; i++) {
        const size_t classes = exn_shape_elements(&plan->outputs[i].shape) / samples;
        if (classes > most) most = classes;
    }
    exec->scores = exn_calloc(exec->ctx, samples * most, sizeof *exec->scores);
    exec->score_count = most;
    return exec->scores ? EXN_OK : EXN_E_NOMEM;
}

float *exn_exec_input(exn_exec *exec) {
    return (float *)(void *)(exec->arena + exec->plan->input.offset);
}

/* What nearly every network takes: the compiler turns three streams into shuffles, where a walk along three channels would
 * make a loop of each pixel. */
static void interleave_three(float *restrict y, const float *restrict planes, size_t pixels) {
    const float *restrict r = planes, *restrict g = r + pixels, *restrict b = g + pixels;
    for (size_t i = 0; i < pixels; i++) {
        y[3 * i] = r[i];
        y[3 * i + 1] = g[i];
        y[3 * i + 2] = b[i];
    }
}

void exn_exec_set_sample(exn_exec *exec, size_t sample, const float *chw) {
    exn_shape one = exec->plan->input_shape;
    one.dim[0] = 1;
    const size_t count = exn_shape_elements(&one);
    float *to = exn_exec_input(exec) + sample * count;
    if (exn_memory_is_rows(&one))
        memcpy(to, chw, count * sizeof *to);
    else if (one.dim[1] == 3)
        interleave_three(to, chw, count / 3);
    else
        exn_permute(&one, (const size_t[]){0, 2, 3, 1}, chw, to, exn_part_whole());
}

void exn_exec_set_nchw(exn_exec *exec, const float *nchw) {
    const exn_shape *shape = &exec->plan->input_shape;
    const size_t samples = shape->dim[0], count = samples ? exn_shape_elements(shape) / samples : 0;
    for (size_t n = 0; n < samples; n++) exn_exec_set_sample(exec, n, nchw + n * count);
}

void exn_exit_score(float *score, const float *logits, size_t classes, const exn_exit_rule *rule) {
    for (size_t i = 0; i < classes; i++) {
        const float own = logits[i] / rule->temperature;
        score[i] = rule->carry != 0 ? own + rule->carry * score[i] : own;
    }
}

static float look(size_t *label, const exn_job *job, const exn_exit_rule *rule, const float *logits, size_t sample,
                  size_t classes) {
    const exn_kernel_set *kernels = &job->plan->kernels;
    if (!job->scores) return exn_confidence(label, kernels, logits, classes, rule->temperature);
    float *score = job->scores + sample * job->score_count;
    exn_exit_score(score, logits, classes, rule);
    return exn_confidence(label, kernels, score, classes, 1.0f);
}

/* Where a sample leaves. Returns true when none is left. */
static bool leave_samples(const exn_job *job, size_t exit, const float *logits) {
    const exn_plan *plan = job->plan;
    const exn_exit_rule *rule = &job->rules[exit];
    const size_t samples = plan->input_shape.dim[0];
    const size_t classes = samples ? exn_shape_elements(&plan->outputs[exit].shape) / samples : 0;
    const bool last = exit + 1 == plan->output_count;
    size_t staying = 0;
    for (size_t sample = 0; sample < samples; sample++) {
        if (job->leaves[sample].exit != SIZE_MAX) continue;
        if (!rule->enabled && !last) {
            staying++;
            continue;
        }
        size_t label;
        const float confidence = look(&label, job, rule, logits + sample * classes, sample, classes);
        if (last || exn_exit_takes(rule, confidence)) /* the line that decides */
            job->leaves[sample] = (exn_leave){exit, label, confidence};
        else
            staying++;
    }
    return staying == 0;
}

/* Hands out what a step completed; on one thread, between two links. */
static void finish_outputs(exn_job *job, const exn_step *step) {
    for (size_t i = step->output_begin; i < step->output_end && !job->stop; i++) {
        const exn_plan_output *output = &job->plan->outputs[i];
        const float *values = exn_operand_read(&job->view, &output->at);
        if (job->sinks && job->sinks[i])
            memcpy(job->sinks[i], values, exn_shape_elements(&output->shape) * sizeof(float));
        if (job->rules) job->stop = leave_samples(job, i, values);
    }
}

static void run_link(void *argument, size_t link, exn_part part) {
    exn_job *job = argument;
    job->links[link].run(job->links[link].step, &job->view, part);
}

static bool after_link(void *argument, size_t link) {
    exn_job *job = argument;
    if (job->links[link].last) finish_outputs(job, job->links[link].step);
    return !job->stop;
}

static exn_job start_job(const exn_exec *exec) {
    return (exn_job){.plan = exec->plan, .links = exec->links, .view = {exec->arena}};
}

void exn_exec_run(exn_exec *exec, float *const sinks[]) {
    exn_job job = start_job(exec);
    job.sinks = sinks;
    exn_pool_chain(exec->pool, exec->link_count, run_link, after_link, &job);
}

void exn_exec_run_exits(exn_exec *exec, const exn_exit_rule rules[], float *const sinks[], exn_leave leaves[]) {
    exn_job job = start_job(exec);
    job.sinks = sinks;
    job.rules = rules;
    job.leaves = leaves;
    job.scores = exec->scores;
    job.score_count = exec->score_count;
    for (size_t sample = 0; sample < exec->plan->input_shape.dim[0]; sample++) leaves[sample].exit = SIZE_MAX;
    exn_pool_chain(exec->pool, exec->link_count, run_link, after_link, &job);
}

static bool time_link(void *argument, size_t link) {
    exn_job *job = argument;
    if (!job->links[link].last) return true;
    const size_t step = (size_t)(job->links[link].step - job->plan->steps);
    const double now = exn_now(), spent = now - job->started;
    if (spent < job->seconds[step]) job->seconds[step] = spent;
    job->started = now;
    return true;
}

static bool time_and_finish(void *argument, size_t link) {
    exn_job *job = argument;
    time_link(job, link);
    if (!job->links[link].last) return true;
    finish_outputs(job, job->links[link].step);
    job->started = exn_now(); /* handing out is nobody's step */
    return true;
}

void exn_exec_run_timed(exn_exec *exec, float *const sinks[], double seconds[]) {
    exn_job job = start_job(exec);
    job.sinks = sinks;
    job.seconds = seconds;
    job.started = exn_now();
    exn_pool_chain(exec->pool, exec->link_count, run_link, time_and_finish, &job);
}

void exn_exec_profile(exn_exec *exec, size_t repeats, double seconds[]) {
    exn_job job = start_job(exec);
    job.seconds = seconds;
    for (size_t s = 0; s < exec->plan->step_count; s++) seconds[s] = repeats ? INFINITY : 0.0;
    for (size_t i = 0; i < repeats; i++) {
        job.started = exn_now();
        exn_pool_chain(exec->pool, exec->link_count, run_link, time_link, &job);
    }
}

#define CONFIDENCE_CHUNK 256u

float exn_confidence(size_t *label, const exn_kernel_set *kernels, const float *logits, size_t classes,
                     float temperature) {
    const exn_f32_vector *vector = &kernels->f32_vector;
    *label = 0;
    bool finite = true;
    for (size_t i = 0; i < classes; i++) {
        if (logits[i] > logits[*label]) *label = i;
        finite &= !isnan(logits[i]);
    }
    if (!finite || classes == 0) return NAN;
    const float largest = logits[*label] / temperature;
    float scaled[CONFIDENCE_CHUNK], sum = 0.0f;
    for (size_t i = 0; i < classes; i += CONFIDENCE_CHUNK) {
        const size_t n = classes - i < CONFIDENCE_CHUNK ? classes - i : CONFIDENCE_CHUNK;
        vector->binary(EXN_DIV, n, logits + i, 1, &temperature, 0, scaled);
        sum += vector->sum_exp(n, scaled, largest, scaled);
    }
    return 1.0f / sum;
}
