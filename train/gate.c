/* SPDX-License-Identifier: Apache-2.0
 * Do no harm to the last layer: it moves only as far as likelihood out of fold says, and it teaches the other exits. */
#include "train/session.h"

#include "train/quality.h"

#include <math.h>
#include <string.h>

/* A layer is linear, so blending two layers' logits is blending the layers. */
static void blend(float *out, const float *start, const float *trained, size_t count, float kept) {
    for (size_t i = 0; i < count; i++) out[i] = kept * start[i] + (1.0f - kept) * trained[i];
}

static exn_status measure_nll(double *out, const exn_session *s, const float *logits) {
    int64_t *label = exn_calloc(s->ctx, s->count, sizeof *label);
    float *scratch = exn_calloc(s->ctx, s->classes, sizeof *scratch);
    if (label && scratch) {
        for (size_t i = 0; i < s->count; i++) label[i] = s->samples[i].label;
        const exn_judged judged = {.logits = logits, .label = label, .rows = s->count, .classes = s->classes};
        *out = exn_mean_nll(&judged, &s->trainer->kernels->f32_vector, 1.0f, scratch);
    }
    const bool enough = label && scratch;
    exn_free(s->ctx, label);
    exn_free(s->ctx, scratch);
    return enough ? EXN_OK : EXN_E_NOMEM;
}

/* The share kept that makes held-out labels likeliest; all of it unless that gains more than one part in the labels. */
static exn_status choose_share(exn_session *s) {
    static const float shares[] = {0.75f, 0.5f, 0.25f, 0.0f};
    const float *trained = exn_session_row(s->held_out, s, s->exits - 1, 0);
    EXN_TRY(measure_nll(&s->nll_before, s, s->own));
    s->kept = 1.0f;
    s->nll_after = s->nll_before - 1.0 / (double)s->labelled;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        double nll;
        blend(s->target, s->start, trained, s->count * s->classes, shares[i]);
        EXN_TRY(measure_nll(&nll, s, s->target));
        if (!(nll < s->nll_after)) continue;
        s->nll_after = nll;
        s->kept = shares[i];
    }
    return EXN_OK;
}

void exn_session_teach_alone(exn_session *s) {
    s->kept = 1.0f;
    for (size_t f = 0; f <= s->folds; f++)
        memcpy(exn_session_row(s->teacher, s, f, 0), s->own_share, s->count * s->classes * sizeof(float));
}

/* Half what the personal layer says, half what the untouched network says; every fold's teacher is that fold's own, which
 * has not seen its samples either. */
static void teach(exn_session *s) {
    const exn_f32_vector *vector = &s->trainer->kernels->f32_vector;
    const size_t table = s->count * s->classes;
    for (size_t f = 0; f <= s->folds; f++) {
        float *teacher = exn_session_row(s->teacher, s, f, 0);
        blend(teacher, s->start, teacher, table, s->kept);
        exn_probabilities(teacher, vector, teacher, s->count, s->classes, 1.0f);
        blend(teacher, s->own_share, teacher, table, 0.5f);
    }
}

/* The head becomes the blend of the network's own layer and the trained one. */
static exn_status blend_head(exn_session *s, exn_head *head) {
    exn_head own = {0};
    EXN_TRY(exn_head_from_classifier(&own, s->ctx, s->trainer->profile->model->graph));
    for (int which = EXN_HEAD_FC_WEIGHT; which <= EXN_HEAD_FC_BIAS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, (exn_head_tensor)which);
        blend(head->tensor[which], own.tensor[which], head->tensor[which], count, s->kept);
    }
    exn_head_free(&own, s->ctx);
    return EXN_OK;
}

exn_status exn_session_gate(exn_session *s) {
    const size_t last = s->exits - 1, table = s->count * s->classes;
    float *held_out = exn_session_row(s->held_out, s, last, 0);
    EXN_TRY(choose_share(s));
    if (s->kept == 1.0f) {
        s->done[last] = false;
        memcpy(held_out, s->own, table * sizeof *held_out);
        exn_session_teach_alone(s);
        return blend_head(s, &s->head[last]);
    }
    blend(held_out, s->start, held_out, table, s->kept);
    teach(s);
    return blend_head(s, &s->head[last]);
}
