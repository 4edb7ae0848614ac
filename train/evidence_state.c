/* SPDX-License-Identifier: Apache-2.0
 * What decisions about heads and cameras stand on, as the profile's JSON. */
#include "train/state.h"

#include <math.h>

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static bool read_number(double *out, const json_t *object, const char *field, bool or_null) {
    const json_t *value = json_object_get(object, field);
    *out = json_is_number(value) ? json_number_value(value) : (double)NAN;
    return isfinite(*out) || (or_null && json_is_null(value));
}

static bool read_count(size_t *out, const json_t *object, const char *field) {
    const json_t *value = json_object_get(object, field);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static bool read_flag(bool *out, const json_t *object, const char *field) {
    const json_t *value = json_object_get(object, field);
    *out = json_is_true(value);
    return json_is_boolean(value);
}

static json_t *triple(double a, double b, double c) {
    return json_pack("[f, f, f]", a, b, c);
}

static bool read_triple(double out[3], const json_t *object, const char *field) {
    const json_t *array = json_object_get(object, field);
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value) || !isfinite(json_number_value(value))) return false;
        out[i] = json_number_value(value);
    }
    return json_array_size(array) == 3;
}

/* ---- heads ---- */

json_t *exn_gate_write(const exn_gate *gate) {
    return json_pack("{s:I, s:I, s:f, s:f, s:b, s:f, s:b, s:b, s:f, s:f, s:o, s:o, s:o}", "tried",
                     (json_int_t)gate->tried, "labelled", (json_int_t)gate->judged, "general_kept", (double)gate->kept,
                     "truth", (double)gate->truth, "prior", (int)gate->prior, "pull", gate->pull, "centred",
                     (int)gate->centred, "open", (int)gate->open, "unseen", gate->unseen, "belief_in_unseen",
                     gate->doubt, "loss_before", number(gate->before), "loss_after", number(gate->after), "loss_error",
                     number(gate->error));
}

bool exn_gate_read(exn_gate *out, const json_t *object) {
    double kept, truth;
    if (!read_count(&out->tried, object, "tried") || !read_count(&out->judged, object, "labelled") ||
        !read_number(&kept, object, "general_kept", false) || !read_number(&truth, object, "truth", false) ||
        !read_flag(&out->prior, object, "prior") || !read_number(&out->pull, object, "pull", false) ||
        !read_flag(&out->centred, object, "centred") || !read_flag(&out->open, object, "open") ||
        !read_number(&out->unseen, object, "unseen", false) ||
        !read_number(&out->doubt, object, "belief_in_unseen", false) ||
        !read_number(&out->before, object, "loss_before", true) ||
        !read_number(&out->after, object, "loss_after", true) || !read_number(&out->error, object, "loss_error", true))
        return false;
    out->kept = (float)kept;
    out->truth = (float)truth;
    return kept >= 0 && kept <= 1 && truth >= 0 && truth <= 1;
}

/* ---- cameras ---- */

json_t *exn_pixels_write(const exn_pixels *p) {
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "photos", (json_int_t)p->photos, "mean",
                     triple(exn_pixels_mean(p, 0), exn_pixels_mean(p, 1), exn_pixels_mean(p, 2)), "deviation",
                     triple(exn_pixels_deviation(p, 0), exn_pixels_deviation(p, 1), exn_pixels_deviation(p, 2)), "sum",
                     triple(p->sum[0], p->sum[1], p->sum[2]), "square",
                     triple(p->square[0], p->square[1], p->square[2]));
}

bool exn_pixels_read(exn_pixels *out, const json_t *object) {
    return read_count(&out->photos, object, "photos") && out->photos > 0 && read_triple(out->sum, object, "sum") &&
           read_triple(out->square, object, "square");
}

json_t *exn_normalisation_write(const exn_normalisation *n) {
    return json_pack("{s:b, s:o, s:o, s:I, s:f, s:I, s:o, s:o, s:o}", "used", (int)n->used, "gain",
                     triple((double)n->gain[0], (double)n->gain[1], (double)n->gain[2]), "offset",
                     triple((double)n->offset[0], (double)n->offset[1], (double)n->offset[2]), "photos",
                     (json_int_t)n->photos, "shift", n->shift, "labelled", (json_int_t)n->judged, "loss_before",
                     number(n->before), "loss_after", number(n->after), "loss_error", number(n->error));
}

bool exn_normalisation_read(exn_normalisation *out, const json_t *object) {
    double gain[3], offset[3];
    if (!read_flag(&out->used, object, "used") || !read_triple(gain, object, "gain") ||
        !read_triple(offset, object, "offset") || !read_count(&out->photos, object, "photos") ||
        !read_number(&out->shift, object, "shift", false) || !read_count(&out->judged, object, "labelled") ||
        !read_number(&out->before, object, "loss_before", true) ||
        !read_number(&out->after, object, "loss_after", true) || !read_number(&out->error, object, "loss_error", true))
        return false;
    for (size_t c = 0; c < 3; c++) {
        out->gain[c] = (float)gain[c];
        out->offset[c] = (float)offset[c];
        if (!(gain[c] > 0.3 && gain[c] < 3.1) || !(fabs(offset[c]) < 1e6)) return false;
    }
    return true;
}

/* ---- class frequencies ---- */

json_t *exn_prior_write(const exn_prior *p) {
    return json_pack("{s:b, s:I, s:f, s:f}", "used", (int)p->used, "samples", (json_int_t)p->samples,
                     "effective_classes", p->effective, "unstable", p->unstable);
}

bool exn_prior_read(exn_prior *out, const json_t *object) {
    return read_flag(&out->used, object, "used") && read_count(&out->samples, object, "samples") &&
           read_number(&out->effective, object, "effective_classes", false) &&
           read_number(&out->unstable, object, "unstable", false);
}

/* ---- lessons ---- */

json_t *exn_history_write(const exn_history *history, size_t exits) {
    json_t *array = json_array();
    for (size_t i = 0; i < history->count; i++) {
        const exn_lesson *lesson = &history->lesson[i];
        json_t *accuracies = json_array();
        for (size_t e = 0; e < exits; e++) json_array_append_new(accuracies, number(lesson->exit[e]));
        json_array_append_new(array, json_pack("{s:I, s:I, s:o, s:o}", "labelled", (json_int_t)lesson->labelled,
                                               "unlabelled", (json_int_t)lesson->unlabelled, "accuracy",
                                               number(lesson->accuracy), "exits", accuracies));
    }
    return array;
}

bool exn_history_read(exn_history *out, const json_t *array, size_t exits) {
    const size_t count = json_array_size(array);
    if (!json_is_array(array) || count > EXN_LESSONS_MAX) return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *object = json_array_get(array, i), *accuracies = json_object_get(object, "exits");
        exn_lesson *lesson = &out->lesson[i];
        if (!read_count(&lesson->labelled, object, "labelled") ||
            !read_count(&lesson->unlabelled, object, "unlabelled") ||
            !read_number(&lesson->accuracy, object, "accuracy", true) || json_array_size(accuracies) != exits)
            return false;
        for (size_t e = 0; e < exits; e++) {
            const json_t *value = json_array_get(accuracies, e);
            if (!json_is_number(value) && !json_is_null(value)) return false;
            lesson->exit[e] = json_is_number(value) ? json_number_value(value) : (double)NAN;
        }
    }
    out->count = count;
    return true;
}
