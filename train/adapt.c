/* SPDX-License-Identifier: Apache-2.0
 * Training one exit's FC in several ways, and choosing. */
#include "train/adapt.h"

#include "train/fresh.h"
#include "train/grow.h"
#include "train/prior.h"
#include "train/quality.h"
#include "train/span.h"
#include "train/tail.h"

#include <math.h>
#include <string.h>

#define NORM_EPSILON 1e-5
/* Features that hardly move among these samples may do so among others: they are not blown up beyond ten times. */
#define LEAST_VARIANCE 0.01
/* Multiply-adds between two chances to stop: a few tenths of a second. */
#define STEP_WORK 4000000000u
/* Multiply-adds that the ways beyond the usual one may take together for one exit. */
#define WORK_MOST 20000000000u

/* A way of training: how much of a labelled target is the truth (the rest is what the head said before), whether the bias starts
 * from the person's class frequencies, whether what all samples share stays unmoved, and how hard the start pulls (per sample). The
 * first of a table is the usual one. Where classes that the labels do not show may well come, only differences between samples
 * move: what all share would push those classes down. An early exit may try that, for thresholds stand behind it. See README for
 * the measurements. */
typedef struct way {
    float truth;
    bool prior, centred;
    double pull;
} way;
static const way open_ways[] = {{0.75f, false, true, 0.3},  {0.75f, false, true, 0.1},  {0.75f, false, true, 0.03},
                                {0.75f, false, true, 1},    {0.75f, false, true, 3},    {0.75f, false, false, 0.3},
                                {0.75f, false, false, 0.1}, {0.75f, false, false, 0.03}};
static const way closed_ways[] = {{0.75f, true, true, 0.1},   {0.75f, true, true, 0.03},  {0.75f, true, true, 0.3},
                                  {0.75f, true, true, 1},     {0.75f, false, false, 0.1}, {0.75f, false, false, 0.03},
                                  {0.75f, false, false, 0.3}, {0.75f, false, false, 1}};
static const way fresh_ways[] = {{0.75f, false, false, 0.1}, {0.75f, false, false, 0.03}, {0.75f, false, false, 0.3},
                                 {0.75f, false, false, 1},   {1, false, false, 0.1},      {1, false, false, 0.3}};
enum {
    OPEN_WAYS = sizeof open_ways / sizeof *open_ways,
    OPEN_LAST_WAYS = 5, /* for the last exit: the centred ones */
    CLOSED_WAYS = sizeof closed_ways / sizeof *closed_ways,
    FRESH_WAYS = sizeof fresh_ways / sizeof *fresh_ways,
    WAYS = CLOSED_WAYS /* the most there are */
};
/* More belief than this in classes that labels do not show, and half of what Good and Turing leave them, is error; less is where
 * they leave them hardly anything. */
#define BELIEF_LEAST 0.2
#define CLEAR_LEAST 0.03

struct exn_adapt {
    exn_session *session;
    size_t exit, width, blocks, known; /* classes of the network */
    bool last, fresh, judged, open;
    double unseen, doubt; /* see exn_gate */
    size_t lessons;       /* of the fit on all samples */
    exn_head head;        /* the general one, its FC over standardised features */
    float *features;      /* [count][width], standardised */
    float *start;         /* [count][classes]: the general head's logits */
    float *share;         /* [count][classes]: softmax(start) */
    float *shift;         /* [blocks][classes]: class frequencies of what each block sees */
    bool *seen;           /* [classes]: scratch; which occur */
    float *rows;          /* [count][classes]: logits being judged */
    float *scratch;       /* [classes] */
    bool *learns;         /* [count]: scratch */
    double *loss;         /* [ways or shares][labelled] */
    exn_span *span;
    const way *table; /* of ways */
    size_t way, ways; /* the next one; how many are tried */
    bool fitting;     /* the one that is under way in `span`: the next, or the best again */
    size_t fitted;    /* the one that `span` holds */
};

bool exn_adapt_possible(const exn_session *s, size_t exit) {
    const exn_exit *e = &s->trainer->profile->exits[exit];
    return !exn_head_stages(e->head.kind) || e->general.kind != EXN_HEAD_AUTO;
}

/* How many of `all` ways there is time for. */
static size_t count_ways(size_t all, size_t count, size_t classes, size_t folds, bool judged) {
    const uint64_t work = exn_span_macs(count, classes, folds + 1, EXN_ADAPT_STEPS);
    const uint64_t most = 1 + WORK_MOST / (work ? work : 1);
    return !judged ? 1 : most < all ? (size_t)most : all;
}

size_t exn_adapt_steps(size_t count, size_t classes, size_t folds, bool judged) {
    return count_ways(WAYS, count, classes, folds, judged);
}

/* ---- features ---- */

/* Mean and 1/deviation of every feature over the samples, in double. */
static exn_status measure_norm(float *mean, float *inv_std, const exn_adapt *a) {
    const size_t count = a->session->count, width = a->width;
    double *sum = exn_calloc(a->session->ctx, 2 * width, sizeof *sum), *square = sum ? sum + width : NULL, all = 0;
    if (!sum) return EXN_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < width; j++) sum[j] += (double)a->features[i * width + j] / (double)count;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < width; j++) {
            const double d = (double)a->features[i * width + j] - sum[j];
            square[j] += d * d / (double)count;
        }
    for (size_t j = 0; j < width; j++) all += square[j] / (double)width;
    for (size_t j = 0; j < width; j++) {
        mean[j] = (float)sum[j];
        inv_std[j] = (float)(1.0 / sqrt(square[j] + NORM_EPSILON + LEAST_VARIANCE * all));
    }
    exn_free(a->session->ctx, sum);
    return EXN_OK;
}

/* A pretrained head brings its statistics along; the network's own layer and fresh heads take the samples'. */
static exn_status set_norm(exn_adapt *a) {
    const exn_session *s = a->session;
    if (s->trainer->profile->exits[a->exit].general.kind != EXN_HEAD_AUTO) return EXN_OK;
    float *mean = exn_malloc(s->ctx, a->width, sizeof *mean), *inv_std = exn_malloc(s->ctx, a->width, sizeof *inv_std);
    exn_status status = mean && inv_std ? measure_norm(mean, inv_std, a) : EXN_E_NOMEM;
    if (status == EXN_OK) exn_head_set_norm(&a->head, mean, inv_std, a->last);
    if (status == EXN_OK && a->fresh)
        memset(a->head.tensor[EXN_HEAD_FC_WEIGHT], 0, a->head.classes * a->width * sizeof(float));
    exn_free(s->ctx, mean);
    exn_free(s->ctx, inv_std);
    return status;
}

static void standardise(exn_adapt *a) {
    const exn_f32_vector *vector = &a->session->trainer->kernels->f32_vector;
    for (size_t i = 0; i < a->session->count; i++) {
        float *row = a->features + i * a->width;
        vector->binary(EXN_SUB, a->width, row, 1, a->head.tensor[EXN_HEAD_MEAN], 1, row);
        vector->binary(EXN_MUL, a->width, row, 1, a->head.tensor[EXN_HEAD_INV_STD], 1, row);
    }
}

static void look_before(exn_adapt *a) {
    const exn_f32_vector *vector = &a->session->trainer->kernels->f32_vector;
    const float *weight = a->head.tensor[EXN_HEAD_FC_WEIGHT], *bias = a->head.tensor[EXN_HEAD_FC_BIAS];
    for (size_t i = 0; i < a->session->count; i++) {
        float *row = a->start + i * a->session->classes;
        for (size_t j = 0; j < a->head.classes; j++)
            row[j] = vector->dot(a->width, a->features + i * a->width, weight + j * a->width) + bias[j];
    }
}

/* A class that the network does not know starts like the average one that it knows. */
static exn_status add_classes(exn_adapt *a) {
    const exn_session *s = a->session;
    const size_t known = a->head.classes;
    double sum = 0;
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = 0; j < known; j++) sum += (double)a->start[i * s->classes + j];
    const float bias = (float)(sum / (double)known / (double)s->count);
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = known; j < s->classes; j++) a->start[i * s->classes + j] = bias;
    return exn_head_grow(&a->head, s->ctx, s->classes, bias);
}

/* Frequencies that stand on no label are part of what training starts from, and stay whole. */
static void add_frequencies(exn_adapt *a) {
    const exn_session *s = a->session;
    const exn_f32_vector *vector = &s->trainer->kernels->f32_vector;
    const float temperature = exn_session_calibration(s, a->exit);
    if (a->fresh) return; /* its teacher knows them */
    vector->axpy(s->classes, temperature, s->frequency, a->head.tensor[EXN_HEAD_FC_BIAS]);
    for (size_t i = 0; i < s->count; i++)
        vector->axpy(s->classes, temperature, s->frequency, a->start + i * s->classes);
}

static exn_status load(exn_adapt *a) {
    const exn_session *s = a->session;
    const exn_trainer *t = s->trainer;
    EXN_TRY(exn_session_start_head(&a->head, s, a->exit));
    a->width = exn_head_features(&a->head);
    a->features = exn_malloc(s->ctx, s->count * a->width, sizeof *a->features);
    a->start = exn_calloc(s->ctx, s->count * s->classes, sizeof *a->start);
    a->rows = exn_calloc(s->ctx, s->count * s->classes, sizeof *a->rows);
    a->share = exn_calloc(s->ctx, s->count * s->classes, sizeof *a->share);
    a->shift = exn_calloc(s->ctx, a->blocks * s->classes, sizeof *a->shift);
    a->seen = exn_calloc(s->ctx, s->classes, sizeof *a->seen);
    a->scratch = exn_calloc(s->ctx, s->classes, sizeof *a->scratch);
    a->learns = exn_calloc(s->ctx, s->count, sizeof *a->learns);
    a->loss =
        exn_calloc(s->ctx, (WAYS > EXN_GATE_SHARES ? WAYS : EXN_GATE_SHARES) * (s->labelled + 1), sizeof *a->loss);
    if (!a->features || !a->start || !a->rows || !a->share || !a->shift || !a->seen || !a->scratch || !a->learns ||
        !a->loss)
        return EXN_E_NOMEM;
    EXN_TRY(exn_tail_run(a->features, EXN_TAIL_FEATURES, s->ctx, t->kernels, &a->head, t->cache, t->cached[a->exit],
                         s->record, s->count));
    EXN_TRY(set_norm(a));
    standardise(a);
    look_before(a);
    EXN_TRY(add_classes(a));
    if (s->prior.used) add_frequencies(a);
    exn_probabilities(a->share, &t->kernels->f32_vector, a->start, s->count, s->classes, 1.0f);
    return exn_span_create(&a->span, s->ctx, t->kernels, a->features, s->count, a->width, s->classes, a->blocks);
}

/* ---- what each block learns from ---- */

/* The last exit learns from labels alone: its teacher is what it was. */
static bool is_lesson(const exn_adapt *a, size_t sample, size_t block) {
    const exn_session *s = a->session;
    return s->fold[sample] != block && !(a->last && s->label[sample] == EXN_UNLABELLED);
}

static exn_labels labels_of(const exn_adapt *a, const bool *counts) {
    const exn_session *s = a->session;
    return (exn_labels){
        .label = s->label, .group = s->group, .counts = counts, .samples = s->count, .classes = s->classes};
}

static void weigh_blocks(exn_adapt *a) {
    const exn_session *s = a->session;
    for (size_t b = 0; b < a->blocks; b++) {
        a->lessons = 0;
        for (size_t i = 0; i < s->count; i++) a->lessons += a->learns[i] = is_lesson(a, i, b);
        for (size_t i = 0; i < s->count; i++)
            exn_span_weigh(a->span, b, i, a->learns[i] ? (float)(1.0 / (double)a->lessons) : 0.0f);
        const exn_labels labels = labels_of(a, a->learns);
        if (s->trainer->without & EXN_WITHOUT_PRIOR) continue;
        exn_prior_from_labels(a->shift + b * s->classes, a->seen, &s->trainer->kernels->f32_vector, &labels);
    }
}

/* How much the head believes in classes that no label shows, where a label says otherwise: all of it is error. */
static double belief_in_unseen(const exn_adapt *a) {
    const exn_session *s = a->session;
    double sum = 0;
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = 0; j < s->classes; j++)
            if (s->label[i] != EXN_UNLABELLED && !a->seen[j]) sum += (double)a->share[i * s->classes + j];
    return s->labelled ? sum / (double)s->labelled : 0;
}

/* Whether the person's classes may go beyond those that labels show, which decides between the tables of ways. */
static void choose_table(exn_adapt *a) {
    const exn_session *s = a->session;
    const exn_labels labels = labels_of(a, NULL);
    a->unseen = exn_prior_unseen(a->seen, &labels);
    a->doubt = belief_in_unseen(a);
    const double much = BELIEF_LEAST + 0.5 * a->unseen, clear = CLEAR_LEAST + 6 * a->unseen;
    a->open = !a->fresh && !(a->doubt >= (much < clear ? much : clear));
    a->table = a->fresh ? fresh_ways : a->open ? open_ways : closed_ways;
    a->ways = count_ways(a->fresh             ? FRESH_WAYS
                         : a->open && a->last ? OPEN_LAST_WAYS
                         : a->open            ? OPEN_WAYS
                                              : CLOSED_WAYS,
                         s->count, s->classes, s->folds, a->judged);
}

/* before: what the head said */
static void mix_target(float *out, const float *before, size_t classes, size_t label, float truth) {
    for (size_t j = 0; j < classes; j++) out[j] = (1.0f - truth) * before[j] + (j == label ? truth : 0.0f);
}

static void set_targets(exn_adapt *a, const way *w) {
    exn_session *s = a->session;
    for (size_t b = 0; b < a->blocks; b++)
        for (size_t i = 0; i < s->count; i++) {
            const size_t row = i * s->classes;
            const float *teacher = exn_session_row(s->teacher, s, b, i);
            float *target = exn_span_target(a->span, b, i), *from = exn_span_start(a->span, b, i);
            for (size_t j = 0; j < s->classes; j++)
                from[j] = a->start[row + j] + (w->prior ? a->shift[b * s->classes + j] : 0.0f);
            if (s->label[i] == EXN_UNLABELLED) {
                memcpy(target, teacher, s->classes * sizeof *target);
                continue;
            }
            /* Nobody has told the head of a class that was added. */
            const float truth = s->label[i] >= (int64_t)a->known ? 1.0f : w->truth;
            mix_target(target, a->fresh ? teacher : a->share + row, s->classes, (size_t)s->label[i], truth);
        }
}

/* ---- creation ---- */

exn_status exn_adapt_create(exn_adapt **out, exn_session *s, size_t exit) {
    exn_adapt *a = exn_calloc(s->ctx, 1, sizeof *a);
    if (!a) return EXN_E_NOMEM;
    const exn_exit *e = &s->trainer->profile->exits[exit];
    a->session = s;
    a->exit = exit;
    a->known = s->trainer->profile->model->classes;
    a->last = exit + 1 == s->exits;
    a->fresh = !a->last && e->general.kind == EXN_HEAD_AUTO;
    a->judged = s->labelled >= EXN_GATE_LABELS;
    a->blocks = s->folds + 1;
    const exn_status status = load(a);
    if (status != EXN_OK) {
        exn_adapt_destroy(a);
        return status;
    }
    weigh_blocks(a);
    choose_table(a);
    *out = a;
    return EXN_OK;
}

void exn_adapt_destroy(exn_adapt *a) {
    if (!a) return;
    exn_context *ctx = a->session->ctx;
    exn_span_destroy(a->span);
    exn_head_free(&a->head, ctx);
    exn_free(ctx, a->features);
    exn_free(ctx, a->start);
    exn_free(ctx, a->rows);
    exn_free(ctx, a->share);
    exn_free(ctx, a->shift);
    exn_free(ctx, a->seen);
    exn_free(ctx, a->scratch);
    exn_free(ctx, a->learns);
    exn_free(ctx, a->loss);
    exn_free(ctx, a);
}

/* ---- judging ---- */

/* rows = kept * start + (1 - kept) * what the block that has not seen the sample says. */
static void gather(exn_adapt *a, float kept) {
    const exn_session *s = a->session;
    for (size_t i = 0; i < s->count; i++) {
        const float *said = exn_span_logits(a->span, s->fold[i], i), *start = a->start + i * s->classes;
        float *row = a->rows + i * s->classes;
        for (size_t j = 0; j < s->classes; j++) row[j] = kept * start[j] + (1.0f - kept) * said[j];
    }
}

/* Log-loss of every labelled sample at the temperature that suits the rows best: sharper is not better. */
static void measure(double *loss, const exn_adapt *a) {
    const exn_session *s = a->session;
    const exn_judged judged = {.logits = a->rows, .label = s->label, .rows = s->count, .classes = s->classes};
    exn_best_losses(loss, &judged, &s->trainer->kernels->f32_vector, a->scratch);
}

static size_t best_way(const exn_adapt *a) {
    return exn_gate_pick(a->loss, a->way, a->judged ? a->session->labelled : 0);
}

static void begin_fit(exn_adapt *a) {
    a->fitted = a->way < a->ways ? a->way : best_way(a);
    const way *w = &a->table[a->fitted];
    set_targets(a, w);
    exn_span_begin(a->span, w->pull / (double)(a->lessons ? a->lessons : 1), w->centred, EXN_ADAPT_STEPS);
    a->fitting = true;
}

exn_status exn_adapt_step(exn_adapt *a) {
    const exn_session *s = a->session;
    const uint64_t work = exn_span_macs(s->count, s->classes, a->blocks, 1);
    if (!a->fitting) begin_fit(a);
    if (exn_span_advance(a->span, 1 + STEP_WORK / (work ? work : 1))) return EXN_OK;
    a->fitting = false;
    EXN_TRY(exn_span_end(a->span));
    if (a->way == a->ways) return EXN_OK;
    gather(a, 0.0f);
    measure(a->loss + a->way * s->labelled, a);
    a->way++;
    return EXN_OK;
}

bool exn_adapt_done(const exn_adapt *a) {
    return a->way == a->ways && !a->fitting && a->fitted == best_way(a);
}

bool exn_adapt_stop(exn_adapt *a) {
    const exn_session *s = a->session;
    const bool cheap = exn_span_macs(s->count, s->classes, a->blocks, EXN_ADAPT_STEPS) <= STEP_WORK;
    if (!a->way || !cheap) return exn_adapt_done(a);
    a->ways = a->way;
    a->fitting = false;
    a->fitted = WAYS; /* none */
    return true;
}

void exn_adapt_exchange(exn_adapt *a, exn_archive *archive) {
    exn_archive_count(archive, &a->way, a->ways);
    exn_archive_reals(archive, a->loss, a->ways * a->session->labelled);
    exn_archive_flag(archive, &a->fitting);
    if (archive->reading) a->fitted = WAYS; /* none: what the span held is not kept */
    if (!a->fitting || archive->status != EXN_OK) return;
    if (archive->reading) begin_fit(a);
    exn_span_exchange(a->span, archive);
}

/* ---- the end ---- */

/* Nothing was there before a fresh head, so nothing of it stays. Without labels, half of what general data taught does. */
static void choose_share(exn_gate *gate, exn_adapt *a) {
    const size_t labelled = a->session->labelled;
    for (size_t g = 0; g < EXN_GATE_SHARES; g++) {
        gather(a, exn_gate_shares[g]);
        measure(a->loss + g * labelled, a);
    }
    const unsigned without = a->session->trainer->without;
    exn_gate_weigh(gate, a->loss, labelled, !a->judged && !a->last);
    if (!a->fresh && !labelled) gate->kept = 0.5f;
    if (without & EXN_WITHOUT_GATE) gate->kept = 0.0f;
    if (without & EXN_WITHOUT_HEADS) gate->kept = 1.0f;
    if (a->fresh) gate->kept = 0.0f;
}

/* The general FC plus what was learned, as far as the gate lets it. */
static exn_status blend_head(exn_adapt *a, float kept) {
    const exn_session *s = a->session;
    const exn_f32_vector *vector = &s->trainer->kernels->f32_vector;
    const size_t weights = s->classes * a->width;
    float *weight = exn_calloc(s->ctx, weights, sizeof *weight), *bias = exn_calloc(s->ctx, s->classes, sizeof *bias);
    const exn_status status = weight && bias ? EXN_OK : EXN_E_NOMEM;
    if (status == EXN_OK) {
        if (a->table[a->fitted].prior) memcpy(bias, a->shift + s->folds * s->classes, s->classes * sizeof *bias);
        exn_span_move(weight, bias, a->span, s->folds);
        vector->axpy(weights, 1.0f - kept, weight, a->head.tensor[EXN_HEAD_FC_WEIGHT]);
        vector->axpy(s->classes, 1.0f - kept, bias, a->head.tensor[EXN_HEAD_FC_BIAS]);
    }
    exn_free(s->ctx, weight);
    exn_free(s->ctx, bias);
    return status;
}

/* What the layer of every block says about every sample, as far as the gate lets it. */
static void tell_teacher(exn_adapt *a, float kept) {
    exn_session *s = a->session;
    for (size_t b = 0; b < a->blocks; b++)
        for (size_t i = 0; i < s->count; i++) {
            const float *said = exn_span_logits(a->span, b, i), *start = a->start + i * s->classes;
            float *row = exn_session_row(s->teacher, s, b, i);
            for (size_t j = 0; j < s->classes; j++) row[j] = kept * start[j] + (1.0f - kept) * said[j];
        }
}

exn_status exn_adapt_finish(exn_adapt *a) {
    exn_session *s = a->session;
    const way *w = &a->table[a->fitted];
    exn_gate gate = {.tried = a->ways,
                     .truth = w->truth,
                     .prior = w->prior && !(s->trainer->without & EXN_WITHOUT_PRIOR),
                     .pull = w->pull,
                     .centred = w->centred,
                     .open = a->open,
                     .unseen = a->unseen,
                     .doubt = a->doubt};
    choose_share(&gate, a);
    EXN_TRY(blend_head(a, gate.kept));
    gather(a, gate.kept);
    memcpy(exn_session_row(s->held_out, s, a->exit, 0), a->rows, s->count * s->classes * sizeof *a->rows);
    if (a->last) tell_teacher(a, gate.kept);
    if (a->last) exn_head_set_norm(&a->head, NULL, NULL, true);
    s->gate[a->exit] = gate;
    s->head[a->exit] = a->head;
    a->head = (exn_head){0};
    return EXN_OK;
}

void exn_adapt_estimate(size_t *bytes, uint64_t *macs, const exn_head *head, size_t count) {
    const size_t width = exn_head_features(head), folds = exn_fold_count(count), blocks = folds + 1;
    const size_t tries = count_ways(WAYS, count, head->classes, folds, true);
    *bytes = exn_span_bytes(count, head->classes, blocks) +
             (count * (width + 3 * head->classes) + 2 * head->classes * width) * sizeof(float) +
             EXN_GATE_SHARES * count * sizeof(double);
    *macs = (tries + 1) * exn_span_macs(count, head->classes, blocks, EXN_ADAPT_STEPS) +
            (uint64_t)count * count * width / 2 + (uint64_t)count * head->classes * width * 3;
}
