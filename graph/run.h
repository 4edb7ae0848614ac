/* SPDX-License-Identifier: Apache-2.0
 * Running a plan: the place where a sample leaves. */
#ifndef EXN_GRAPH_RUN_H
#define EXN_GRAPH_RUN_H

#include "graph/plan.h"

/* One run's memory: arena and threads. Belongs to one thread at a time. */
typedef struct exn_exec exn_exec;

/* An exit takes the sample when it is enabled and its calibrated confidence reaches the threshold. The last exit takes
 * every sample that is left. */
typedef struct exn_exit_rule {
    bool enabled;
    float temperature, threshold;
    float carry; /* how much the scores of the enabled exits before it count: see exn_exit_score */
} exn_exit_rule;

typedef struct exn_leave { /* one sample's answer */
    size_t exit, label;
    float confidence; /* softmax(score)[label]: see exn_exit_score */
} exn_leave;

exn_status exn_exec_create(exn_exec **out, exn_context *ctx, const exn_plan *plan);
void exn_exec_destroy(exn_exec *exec);
/* The plan's input in memory order (N,H,W,C for images), to be filled in before each run: a run may overwrite it. */
float *exn_exec_input(exn_exec *exec);
/* Fills it in from N,C,H,W. */
void exn_exec_set_nchw(exn_exec *exec, const float *nchw);
/* One sample of it, from C,H,W. */
void exn_exec_set_sample(exn_exec *exec, size_t sample, const float *chw);
/* Runs to the end. sinks[i]: where output i is copied in memory order, or NULL. Allocates nothing. */
void exn_exec_run(exn_exec *exec, float *const sinks[]);
/* The same; seconds[step] becomes what the step took where that is less. */
void exn_exec_run_timed(exn_exec *exec, float *const sinks[], double seconds[]);
/* Makes room for scores that are carried from exit to exit: needed once before runs whose rules carry. */
exn_status exn_exec_keep_scores(exn_exec *exec);
/* Runs until every sample of the batch has left; outputs are exits, rules has one entry each. Later segments are not
 * computed. leaves has one entry a sample. sinks may be NULL; those of exits not reached are untouched. */
void exn_exec_run_exits(exn_exec *exec, const exn_exit_rule rules[], float *const sinks[], exn_leave leaves[]);
/* Runs `repeats` times and writes each step's least time in seconds to seconds[step]: for `bench --layers`. */
void exn_exec_profile(exn_exec *exec, size_t repeats, double seconds[]);

/* What an exit goes by: score = logits / temperature + carry * score, in place, where `score` is what the enabled exit before it made of
 * the sample. With carry 0, `score` is not read. */
void exn_exit_score(float *score, const float *logits, size_t classes, const exn_exit_rule *rule);
/* Whether an enabled exit takes a sample that it is that sure of; the last one takes all that is left without being asked. */
static inline bool exn_exit_takes(const exn_exit_rule *rule, float confidence) {
    return confidence >= rule->threshold;
}
/* Largest logit's index and its probability under softmax(logits / temperature); ties go to the lower index. NaN
 * logits give confidence NaN, which no threshold accepts. Same bits on every set with fused multiply-add. */
float exn_confidence(size_t *label, const exn_kernel_set *kernels, const float *logits, size_t classes,
                     float temperature);

#endif
