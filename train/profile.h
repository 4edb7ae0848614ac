/* SPDX-License-Identifier: Apache-2.0
 * A profile in memory, and the network it makes of a model. */
#ifndef EXN_TRAIN_PROFILE_H
#define EXN_TRAIN_PROFILE_H

#include "graph/head.h"
#include "graph/model.h"
#include "graph/plan.h"
#include "graph/preprocess.h"
#include "graph/run.h"
#include "train/gate.h"
#include "train/history.h"
#include "train/normalise.h"
#include "train/point.h"
#include "train/prior.h"

#define EXN_CLASSES_MAX 65536u /* of one profile: a damaged network can have logits without end */

typedef struct exn_exit {
    char *tap;            /* value name in the model's graph */
    exn_head head;        /* tensors owned; the last exit's kind is CLASSIFIER */
    exn_exit_rule rule;   /* of the exit alone; a run obeys exn_profile_rules */
    bool trained;         /* false: head as attached; a fresh early exit is never enabled */
    double accuracy, nll; /* out-of-fold on personal labelled samples; NaN: unknown */
    double agreement;     /* with the teacher; NaN: unknown */
    double share;         /* of the personal samples, out of fold, that leave here under the policy; NaN: unknown */
    double cost_ms;       /* from the input to this exit's decision, enabled heads before it included; 0: unknown */
    char *decision;       /* one sentence: what was decided and on which evidence */
    exn_gate gate;        /* that evidence, as far as the head goes; tried 0: never personalised */
    /* What general data taught, before anybody's photos; a personal run starts from it and leaves it alone. */
    exn_head
        general; /* of the kind of `head`, tensors owned; kind AUTO: never pretrained, and then there are no tensors */
    float general_temperature;            /* these three cross-fitted on the general data; NaN: unknown */
    double general_accuracy, general_nll; /* at general_temperature */
} exn_exit;

struct exn_profile {
    exn_context *ctx;
    const exn_model *model;
    char network_hash[EXN_HASH_TEXT_BYTES]; /* exn_model_hash of the model it was made for */
    exn_exit *exits;                        /* ascending depth; the last is the network's own classifier */
    size_t exit_count;
    char **classes;
    size_t class_count;        /* the model's logits first, then classes added for this person */
    exn_preprocess preprocess; /* as the network was taught to see */
    exn_pixels pixels;         /* of the general photos, so preprocessed */
    exn_normalisation normal;  /* what the person's camera needs beyond it */
    exn_prior prior;           /* class frequencies estimated without labels */
    uint64_t seed;
    size_t labelled, unlabelled; /* personal samples it was trained on */
    double
        accuracy; /* of the policy, out of fold on the labelled ones it was chosen by: a little flattered; NaN: unknown */
    char *costs;                  /* where cost_ms comes from: "measured", "macs", or a file's name */
    exn_policy point[EXN_POINTS]; /* of target i + 1; judged == 0: not decided */
    exn_history history;          /* of personalising this profile */
    exn_target target;            /* whose point the exits' rules are: KEEP or UNTOUCHED */
};

/* Whether an exit is the network's own output, bit for bit: the last one, not trained, with no class added. */
static inline bool exn_exit_is_own(const exn_exit *exit, const exn_model *model) {
    return exit->head.kind == EXN_HEAD_CLASSIFIER && !exit->trained && exit->head.classes == model->classes;
}

/* Whether a profile may keep this text as a name: UTF-8, not empty, and nothing in it that steers a terminal. */
bool exn_name_is_clean(const char *text);

/* Makes rules carry from each enabled exit (the last one counts) to the next. */
void exn_rules_carry(exn_exit_rule *rules, size_t exits, float carry);
/* What a run obeys at an operating point: one rule an exit, carrying included. */
void exn_point_rules(exn_exit_rule *out, const exn_profile *profile, const exn_policy *point);
/* The same for the profile's own target or another; EXN_E_INVALID where nothing was decided for it. */
exn_status exn_profile_rules(exn_exit_rule *out, const exn_profile *profile, exn_target target);
/* What was decided stood on other heads. */
void exn_profile_forget_points(exn_profile *profile);

/* The graph of a model with a profile's exits, and the values to ask a plan for. */
typedef struct exn_network {
    exn_graph *graph;
    size_t exit_count;
    size_t *exit;         /* index in the profile of each exit taken in */
    exn_value_id *prefix; /* what the feature cache stores for it */
    exn_value_id *logits;
} exn_network;

/* Which exits to take in. The last exit of the profile is always the network's own last layer, with personal weights. */
typedef enum exn_network_part {
    EXN_NETWORK_ALL,      /* every exit, trained or not: extraction, evaluation */
    EXN_NETWORK_NEEDED,   /* enabled exits up to the deepest needed: a runner */
    EXN_NETWORK_UNTOUCHED /* only the model's own logits with its own weights */
} exn_network_part;

exn_status exn_network_build(exn_network *out, const exn_profile *profile, size_t batch, exn_network_part part);
/* The exits that `rules` (one a profile's exit) enable, up to the first that takes whatever comes. */
exn_status exn_network_build_ruled(exn_network *out, const exn_profile *profile, size_t batch,
                                   const exn_exit_rule *rules);
/* One exit alone, without the earlier heads: for static cuts and per-exit milliseconds. */
exn_status exn_network_build_single(exn_network *out, const exn_profile *profile, size_t batch, size_t exit);
void exn_network_destroy(exn_network *network, exn_context *ctx);

#endif
