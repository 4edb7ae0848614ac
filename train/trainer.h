/* SPDX-License-Identifier: Apache-2.0
 * The trainer's inside: samples gathered, features extracted, and a session that can be left and entered at any step. */
#ifndef EXN_TRAIN_TRAINER_H
#define EXN_TRAIN_TRAINER_H

#include "train/costs.h"
#include "train/held_out.h"
#include "train/loop.h"
#include "train/policy.h"
#include "train/profile.h"
#include "train/samples.h"
#include "train/tail.h"

typedef struct exn_session exn_session;

/* Labels of fewer classes are not looked at, where the network has as many. */
#define EXN_CLASSES_LEAST 3u

/* More samples than this teach a layer little; which of them a run leaves out follows from their content. */
#define EXN_SAMPLES_MOST 2048u

/* Parts of the method that a study may leave out, to see what each is worth. */
enum {
    EXN_WITHOUT_NORMALISE = 1, /* the person's camera */
    EXN_WITHOUT_PRIOR = 2,     /* class frequencies, from labels or predictions */
    EXN_WITHOUT_HEADS = 4,     /* general heads stay, but for frequencies from predictions */
    EXN_WITHOUT_GATE = 8       /* what was trained is used whatever samples that it has not seen say */
};

struct exn_trainer {
    exn_context *ctx;
    exn_profile *profile;
    const exn_kernel_set *kernels;
    double time_budget_s;
    char *costs;    /* NULL: measure */
    char *progress; /* path of the journal; NULL: none */
    uint64_t seed;
    exn_target target;
    /* Extraction: one input at a time through the frozen backbone. Plan and memory are there while it lasts. */
    exn_plan *plan;
    exn_exec *exec;
    exn_resizer *resizer;
    float *input;  /* (h, w, c) */
    float *record; /* what the cache stores: logits, then what every exit reads */
    float **sinks; /* places in `record`, in the order of the plan's outputs */
    size_t input_count, record_count;
    exn_cached *cached; /* [exits]: what a record holds for an exit */
    bool whole_heads;   /* heads will be trained from their prefixes on: every record has them */
    size_t extraction_bytes;
    double *seconds;    /* [steps of the plan]: least that each took */
    size_t timed;       /* runs that this is the least of */
    exn_costs measured; /* from them, once extraction has ended; exits 0: too few, or heads that it does not run */
    exn_cache *cache;
    bool cache_in_file, cache_half;
    exn_sample *samples;
    size_t sample_count, sample_capacity;
    size_t samples_most; /* more have no room: of each class as many as there is room for */
    size_t *of_class;    /* [classes + 1]: samples by label + 1 */
    size_t left_out;
    exn_pool *pool;
    exn_session *session; /* NULL: not begun, or finished */
    double used_s;        /* time spent in exn_trainer_run before this call */
    bool unfinished;      /* the last run ended because its time was up */
    unsigned without;     /* EXN_WITHOUT_*; set before the first run */
    bool keep_held_out;
    exn_held_out held_out; /* of the last run that finished, where kept */
};

/* Like exn_trainer_create; whole_heads: see above. */
exn_status exn_trainer_create_for(exn_trainer **out, exn_profile *profile, const exn_trainer_options *options,
                                  bool whole_heads);
/* What is in a record, and where. */
exn_status exn_trainer_lay_out(exn_trainer *trainer);
/* What makes records comparable, as text. */
exn_status exn_trainer_key(char key[EXN_HASH_TEXT_BYTES], const exn_trainer *trainer);
/* Makes what extraction needs, unless it is there; and gives it back, which it may be at any time. */
exn_status exn_trainer_begin_extraction(exn_trainer *trainer);
void exn_trainer_end_extraction(exn_trainer *trainer);
/* Copies a tensor (channels, height, width) into trainer->input; EXN_E_INVALID unless all of it is finite. */
exn_status exn_trainer_load_tensor(exn_trainer *trainer, const float *chw);
/* The record of what trainer->input holds, extracted now if the cache does not have it yet. */
exn_status exn_trainer_gather(size_t *record, exn_content *content, exn_trainer *trainer);
/* The same in two parts, of which the first leaves the cache as it is; *record is EXN_CACHE_MISSING between them where it is new. */
exn_status exn_trainer_look(size_t *record, exn_trainer *trainer, const exn_content *content);
exn_status exn_trainer_keep(size_t *record, exn_trainer *trainer, const exn_content *content);

/* Everything that a run works on; made of the samples as they are. Fewer than one sample: EXN_E_INVALID. */
exn_status exn_session_create(exn_session **out, exn_trainer *trainer);
void exn_session_destroy(exn_session *session);
/* One training step, with whatever must happen before or after it. */
exn_status exn_session_step(exn_session *session);
bool exn_session_trained(const exn_session *session);
void exn_session_progress(size_t *done, size_t *total, const exn_session *session);
/* Keeps where the exit under way stands, where that is worth it or `now`. */
exn_status exn_session_keep(exn_session *session, bool now);
/* No more steps will come: what the exit under way has so far is brought to an end, where that takes little. */
exn_status exn_session_stop(exn_session *session);
/* Judges what was trained, decides, and moves it into the profile: all of it, or on failure nothing. */
exn_status exn_session_finish(exn_session *session);
/* Multiply-adds of training all exits with this many samples, and the bytes that the largest fit and the session hold. */
exn_status exn_session_estimate(uint64_t *macs, size_t *bytes, const exn_trainer *trainer, size_t labelled,
                                size_t unlabelled);

#endif
