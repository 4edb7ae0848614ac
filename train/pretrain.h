/* SPDX-License-Identifier: Apache-2.0
 * Pretraining from the inside: general photos gathered, heads trained on all of them and, fold by fold, without some.
 *
 * Jobs, in this order, so that a time budget first gives heads and then figures: for the last exit, then for the early ones
 * from the deepest up, one fit with all photos; then the same for each fold without its photos. The last exit is fitted on all
 * only where asked for (refit); its folds tell how sure a classifier may be of photos that it was not fitted to.
 *
 * Before all that, where heads are to be chosen: trials of each kind without the first fold, half as long.
 *
 * What stays until exn_pretrainer_destroy, for replaying personalisation on general people: photo, fold_head, held_out. */
#ifndef EXN_TRAIN_PRETRAIN_H
#define EXN_TRAIN_PRETRAIN_H

#include "train/journal.h"
#include "train/trainer.h"

#define EXN_VIEWS_MAX 16u
#define EXN_TRIALS 3u
extern const exn_head_kind exn_trial_kinds[EXN_TRIALS];

typedef struct exn_general_photo {
    exn_content content;
    int64_t label;
    size_t record;                   /* in trainer->cache: logits of the network, then every exit's prefix */
    size_t extra[EXN_VIEWS_MAX - 1]; /* likewise, of its augmented views */
    size_t extras;
    size_t group;      /* as given */
    size_t fold;       /* once settled */
    exn_pixels pixels; /* of its first view: by them a person's camera is known to be another */
} exn_general_photo;

struct exn_pretrainer {
    exn_context *ctx;
    exn_profile *profile;
    exn_trainer *trainer; /* extraction, cache, kernels, pool; it has no samples of its own */
    double time_budget_s, used_s;
    uint64_t seed;
    size_t epochs, views; /* views: of each photo, the clean one among them */
    bool refit, choose_heads, prune;
    bool spent;               /* a run ended: its result is in the profile, whose exits may be fewer now */
    exn_general_photo *photo; /* ascending content once settled, without duplicates */
    size_t photo_count, photo_capacity;
    size_t exits, classes, folds;
    exn_head *general;   /* [exits]: trained on all; kind AUTO where not done */
    exn_head *fold_head; /* [folds][exits]: trained without the fold's photos; kind AUTO where not done */
    float *held_out;     /* [exits][photos][classes]: logits of clean views by the fold that had not seen them */
    exn_head_kind *kind; /* [exits]: of its head */
    double *trial;       /* [exits][EXN_TRIALS]: share of the first fold that a trial was right on */
    /* The jobs under way; NULL and zero between runs. */
    size_t *record;           /* [samples]: of all views of the job's photos */
    float *target, *soft;     /* [samples][classes] */
    size_t job, jobs, trials; /* jobs: trials + (folds + 1) * exits */
    exn_fit *fit;
    exn_head work;
    size_t steps_done, steps_total;
    bool begun;
    char *progress;       /* path of the journal; NULL: none */
    exn_journal *journal; /* NULL: nothing is kept on disk */
};

/* Settles the photos, divides them into folds, takes memory. */
exn_status exn_pretrain_begin(exn_pretrainer *pretrainer);
/* One step of training; *finished: nothing is left to train. */
exn_status exn_pretrain_step(bool *finished, exn_pretrainer *pretrainer);
typedef struct exn_pretrain_job {
    size_t exit, fold; /* fold: the one left out; folds: none */
    size_t trial;      /* index in exn_trial_kinds; EXN_TRIALS: no trial */
} exn_pretrain_job;
exn_pretrain_job exn_pretrain_current(const exn_pretrainer *pretrainer);
size_t exn_pretrain_job_steps(const exn_pretrainer *pretrainer, const exn_pretrain_job *job);
exn_status exn_pretrain_begin_job(exn_pretrainer *pretrainer, const exn_pretrain_job *job);
/* Takes what an earlier run of the same photos and options kept, and keeps more from here on; nothing where there is no place
 * for it. */
exn_status exn_pretrain_resume(exn_pretrainer *pretrainer);
/* Keeps what the current job made; which kinds the trials decided for; where the current job stands, where that is worth
 * it or `now`. */
exn_status exn_pretrain_keep_job(exn_pretrainer *pretrainer);
exn_status exn_pretrain_keep_kinds(exn_pretrainer *pretrainer);
exn_status exn_pretrain_keep(exn_pretrainer *pretrainer, bool now);
/* What a run holds beside photos and heads. */
void exn_pretrain_end(exn_pretrainer *pretrainer);
/* The part of it that only training needs. */
void exn_pretrain_end_training(exn_pretrainer *pretrainer);
/* Kinds from the trials and from what heads cost by the trainer's cost table. */
exn_status exn_pretrain_choose(exn_pretrainer *pretrainer);
/* Temperatures and figures from held_out, and heads and all into the profile. */
exn_status exn_pretrain_finish(exn_pretrainer *pretrainer);

#endif
