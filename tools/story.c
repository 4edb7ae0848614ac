/* SPDX-License-Identifier: Apache-2.0
 * The sections of a report, one function each. */
#include "tools/story.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "train/quality.h"

enum { SWEEP = 41, BINS = 10, PLOT_WIDTH = 720, PLOT_HEIGHT = 380, SMALL = 230 };
/* Hues by what they stand for; exits of a chart of their own count on from the first. */
enum { HUE_LINE = 0, HUE_UNTOUCHED = 1, HUE_CHOSEN = 2, HUE_DIAGONAL = 3, HUE_EXIT = 4 };

static double percent(double share) {
    return 100 * share;
}

static void put_tile(exn_text *page, const char *what, const char *value, const char *more) {
    exn_text_put(page, "<div class=\"tile\">%s<b>%s</b><span class=\"mute\">%s</span></div>\n", what, value, more);
}

/* Milliseconds, or multiply-adds where no table of milliseconds was given, as shares of the untouched network. */
static const exn_costs *costs_of(const exn_story *s) {
    return s->recalled->costs.in_ms ? &s->recalled->costs : &s->recalled->macs;
}

static const char *cost_label(const exn_story *s) {
    return s->recalled->costs.in_ms ? "mean milliseconds a photo" : "multiply-adds, share of the untouched network's";
}

static double whole_cost(const exn_story *s) {
    return costs_of(s)->reach[s->recalled->exits - 1];
}

void exn_story_summary(exn_text *page, const exn_story *s) {
    const exn_figures *f = s->figures;
    const bool ms = s->recalled->costs.in_ms;
    const double whole = ms ? f->full_mean_ms : 1, mean = ms ? f->policy_mean_ms : f->policy_macs_fraction;
    char value[64], more[96];
    exn_text_put(
        page,
        "<p class=\"mute\">%zu photos; learned from %zu labelled and %zu unlabelled ones.</p>\n<div class=\"tiles\">\n",
        f->samples, s->profile->labelled, s->profile->unlabelled);
    snprintf(value, sizeof value, "%.1f %%", percent(f->full_accuracy));
    snprintf(more, sizeof more, "%.1f %% among the classes here", percent(f->full_accuracy_masked));
    put_tile(page, "untouched network", value, more);
    snprintf(value, sizeof value, "%.1f %%", percent(f->policy_accuracy));
    snprintf(more, sizeof more, "agrees with it on %.1f %%", percent(f->policy_agreement));
    put_tile(page, "this profile", value, more);
    snprintf(value, sizeof value, "%.2fx", whole / mean);
    snprintf(more, sizeof more, "%.3g instead of %.3g %s", mean, whole, ms ? "ms" : "of its work");
    put_tile(page, "speed-up", value, more);
    exn_text_put(page, "</div>\n");
}

/* ---- accuracy against cost ---- */

typedef struct spot {
    double cost, accuracy;
} spot;

/* All exits by one threshold, carrying as the profile's point does, on samples with labels. */
static spot leave_by(const exn_story *s, float threshold, float *score) {
    const exn_recalled *r = s->recalled;
    const exn_profile *profile = s->profile;
    exn_exit_rule rules[EXN_EXITS_MAX];
    bool attached[EXN_EXITS_MAX];
    size_t right = 0, labelled = 0;
    double cost = 0;
    for (size_t e = 0; e < r->exits; e++) {
        attached[e] = true;
        rules[e] =
            (exn_exit_rule){.enabled = true, .temperature = profile->exits[e].rule.temperature, .threshold = threshold};
    }
    exn_rules_carry(rules, r->exits, profile->point[profile->target - 1].carry);
    for (size_t i = 0; i < r->samples; i++) {
        if (s->label[i] == EXN_UNLABELLED) continue;
        labelled++;
        for (size_t e = 0; e < r->exits; e++) {
            size_t answer;
            exn_exit_score(score, r->logits + (e * r->samples + i) * r->classes, r->classes, &rules[e]);
            const float confidence = exn_confidence(&answer, &profile->model->kernels, score, r->classes, 1.0f);
            if (e + 1 < r->exits && !exn_exit_takes(&rules[e], confidence)) continue;
            right += (int64_t)answer == s->label[i];
            cost += exn_costs_until(costs_of(s), attached, e);
            break;
        }
    }
    const double n = labelled ? (double)labelled : (double)NAN;
    return (spot){cost / n, percent((double)right / n)};
}

static double cost_of(const exn_point_figures *p, const exn_story *s) {
    return s->recalled->costs.in_ms ? p->mean_ms : p->macs_fraction;
}

/* One of the large points: the untouched network, or where the profile operates. */
typedef struct mark {
    spot at;
    size_t hue;
    char name[48];
} mark;

static bool side_by_side(const mark *a, const mark *b) {
    return fabs(a->at.accuracy - b->at.accuracy) <= 2 && fabs(a->at.cost - b->at.cost) <= 0.05 * a->at.cost;
}

/* Marks that lie beside an earlier one share its words. */
static void put_marks(exn_text *page, const exn_chart *chart, const mark *marks, size_t count) {
    bool named[EXN_POINTS + 1] = {false};
    for (size_t i = 0; i < count; i++) {
        char words[(EXN_POINTS + 1) * sizeof marks->name] = "";
        size_t used = 0;
        for (size_t j = named[i] ? count : i; j < count; j++) {
            if (named[j] || !side_by_side(&marks[i], &marks[j])) continue;
            used += (size_t)snprintf(words + used, sizeof words - used, "%s%s", used ? ", " : "", marks[j].name);
            named[j] = true;
        }
        exn_chart_dot(page, chart, marks[i].at.cost, marks[i].at.accuracy, marks[i].hue, true, words);
    }
}

static void put_points(exn_text *page, const exn_chart *chart, const exn_story *s) {
    const exn_figures *f = s->figures;
    const bool ms = s->recalled->costs.in_ms;
    mark marks[EXN_POINTS + 1] = {{{whole_cost(s), percent(f->full_accuracy)}, HUE_UNTOUCHED, "untouched network"}};
    size_t count = 1;
    for (size_t e = 0; e < f->exit_count; e++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", e);
        exn_chart_dot(page, chart, ms ? f->exits[e].cut_ms : f->exits[e].cut_macs_fraction,
                      percent(f->exits[e].accuracy), HUE_EXIT, false, number);
    }
    for (size_t t = 0; t < EXN_POINTS; t++) {
        const exn_point_figures *p = &f->points[t];
        if (!p->known) continue;
        mark *m = &marks[count++];
        *m = (mark){.at = {cost_of(p, s), percent(p->accuracy)}, .hue = HUE_CHOSEN};
        snprintf(m->name, sizeof m->name, "%s%s", exn_target_names[t + 1],
                 s->profile->target == (exn_target)(t + 1) ? " (chosen)" : "");
    }
    put_marks(page, chart, marks, count);
}

void exn_story_curve(exn_text *page, const exn_story *s) {
    double x[SWEEP], y[SWEEP], least = percent(s->figures->full_accuracy), most = whole_cost(s);
    float *score = exn_malloc(page->ctx, s->recalled->classes, sizeof *score);
    if (score == NULL) {
        page->status = EXN_E_NOMEM;
        return;
    }
    for (size_t i = 0; i < SWEEP; i++) {
        const spot at = leave_by(s, 1.001f * (float)i / (SWEEP - 1), score);
        x[i] = at.cost;
        y[i] = at.accuracy;
        if (y[i] < least) least = y[i];
        if (x[i] > most) most = x[i];
    }
    exn_free(page->ctx, score);
    for (size_t e = 0; e < s->figures->exit_count; e++)
        if (percent(s->figures->exits[e].accuracy) < least) least = percent(s->figures->exits[e].accuracy);
    const exn_chart chart = {.x1 = 1.05 * most,
                             .y0 = floor(least / 10) * 10,
                             .y1 = 100,
                             .x_label = cost_label(s),
                             .y_label = "right, per cent",
                             .width = PLOT_WIDTH,
                             .height = PLOT_HEIGHT};
    exn_page_section(
        page, "Accuracy against time",
        "The line lets every exit take what it is sure enough of, for all thresholds from 0 to 1, read on these "
        "very photos: what was possible, not what could be known. The green points were decided before; the small ones "
        "are the network cut at the exit of that number.");
    exn_chart_begin(page, &chart);
    exn_chart_line(page, &chart, x, y, SWEEP, HUE_LINE);
    put_points(page, &chart, s);
    exn_chart_end(page);
}

/* ---- shares ---- */

void exn_story_shares(exn_text *page, const exn_story *s) {
    const exn_figures *f = s->figures;
    const exn_chart chart = {.x0 = -0.5,
                             .x1 = (double)f->exit_count - 0.5,
                             .y1 = 100,
                             .x_label = "exit",
                             .y_label = "photos, per cent",
                             .width = PLOT_WIDTH,
                             .height = SMALL};
    char title[96];
    exn_page_section(page, "Where photos leave", "The share of photos that each exit takes under the chosen rules.");
    exn_chart_begin(page, &chart);
    for (size_t e = 0; e < f->exit_count; e++) {
        const double share = percent(f->exits[e].share), at = (double)e;
        snprintf(title, sizeof title, "exit %zu: %.1f %% of the photos", e, share);
        exn_chart_box(page, &chart, at - 0.35, 0, at + 0.35, share, HUE_LINE, title);
    }
    exn_chart_end(page);
}

/* ---- lessons ---- */

static int by_labels(const void *a, const void *b) {
    const size_t x = ((const exn_lesson *)a)->labelled, y = ((const exn_lesson *)b)->labelled;
    return (x > y) - (x < y);
}

void exn_story_history(exn_text *page, const exn_story *s) {
    exn_history sorted = s->profile->history;
    const exn_history *h = &sorted;
    double most = 1, x[EXN_LESSONS_MAX], y[EXN_LESSONS_MAX];
    if (h->count == 0) return;
    qsort(sorted.lesson, sorted.count, sizeof *sorted.lesson, by_labels);
    for (size_t i = 0; i < h->count; i++) {
        x[i] = (double)h->lesson[i].labelled;
        if (x[i] > most) most = x[i];
    }
    const exn_chart chart = {.x1 = 1.1 * most,
                             .y1 = 100,
                             .x_label = "labelled photos",
                             .y_label = "right out of fold, per cent",
                             .width = PLOT_WIDTH,
                             .height = PLOT_HEIGHT};
    double end_x[EXN_EXITS_MAX], end_y[EXN_EXITS_MAX];
    char word[EXN_EXITS_MAX][16];
    const char *words[EXN_EXITS_MAX];
    exn_page_section(
        page, "How exits grew",
        "Accuracy of every exit out of fold, each time this profile was personalised. Photos of one shelf or "
        "wardrobe look alike: folds flatter a little.");
    exn_chart_begin(page, &chart);
    for (size_t e = 0; e < s->profile->exit_count; e++) {
        for (size_t i = 0; i < h->count; i++) y[i] = percent(h->lesson[i].exit[e]);
        exn_chart_line(page, &chart, x, y, h->count, e);
        end_x[e] = x[h->count - 1];
        end_y[e] = y[h->count - 1];
        snprintf(word[e], sizeof word[e], "exit %zu", e);
        words[e] = word[e];
        exn_chart_dot(page, &chart, end_x[e], end_y[e], e, false, "");
    }
    exn_chart_words(page, &chart, end_x, end_y, words, s->profile->exit_count);
    exn_chart_end(page);
}

/* ---- reliability ---- */

/* Mean confidence and accuracy of each tenth of confidence; NaN where nothing falls. */
static void bin(double confidence[BINS], double accuracy[BINS], const exn_story *s, size_t exit, float temperature,
                float *score) {
    const exn_recalled *r = s->recalled;
    double sure[BINS] = {0}, right[BINS] = {0}, count[BINS] = {0};
    for (size_t i = 0; i < r->samples; i++) {
        if (s->label[i] == EXN_UNLABELLED) continue;
        const float *row = r->logits + (exit * r->samples + i) * r->classes;
        const size_t answer = exn_best_class(row, r->classes);
        exn_probabilities(score, s->vector, row, 1, r->classes, temperature);
        const size_t b = score[answer] < 1 ? (size_t)(score[answer] * BINS) : BINS - 1;
        sure[b] += (double)score[answer];
        right[b] += (int64_t)answer == s->label[i];
        count[b]++;
    }
    for (size_t b = 0; b < BINS; b++) {
        confidence[b] = count[b] > 0 ? percent(sure[b] / count[b]) : (double)NAN;
        accuracy[b] = count[b] > 0 ? percent(right[b] / count[b]) : (double)NAN;
    }
}

void exn_story_reliability(exn_text *page, const exn_story *s) {
    float *score = exn_malloc(page->ctx, s->recalled->classes, sizeof *score);
    if (score == NULL) {
        page->status = EXN_E_NOMEM;
        return;
    }
    exn_page_section(
        page, "Whether exits know what they know",
        "Right answers against confidence, per cent: a calibrated exit lies on the dashed diagonal. Orange: as "
        "trained; blue: at its temperature. The rules add what earlier exits said.");
    exn_text_put(page, "<div class=\"row\">\n");
    for (size_t e = 0; e < s->recalled->exits; e++) {
        char label[48];
        const float temperature = s->profile->exits[e].rule.temperature;
        snprintf(label, sizeof label, "exit %zu, temperature %.2f", e, (double)temperature);
        const exn_chart chart = {
            .x1 = 100, .y1 = 100, .x_label = label, .y_label = "", .width = SMALL, .height = SMALL};
        double x[BINS], y[BINS];
        exn_chart_begin(page, &chart);
        exn_text_put(page, "<g stroke-dasharray=\"4 3\">");
        exn_chart_line(page, &chart, (const double[]){0, 100}, (const double[]){0, 100}, 2, HUE_DIAGONAL);
        exn_text_put(page, "</g>");
        bin(x, y, s, e, 1.0f, score);
        exn_chart_line(page, &chart, x, y, BINS, HUE_UNTOUCHED);
        bin(x, y, s, e, temperature, score);
        exn_chart_line(page, &chart, x, y, BINS, HUE_LINE);
        exn_chart_end(page);
    }
    exn_text_put(page, "</div>\n");
    exn_free(page->ctx, score);
}

/* ---- confusion ---- */

static bool occurs(const exn_figures *f, size_t class) {
    for (size_t c = 0; c < f->class_count; c++)
        if (f->confusion[class * f->class_count + c] > 0 || f->confusion[c * f->class_count + class] > 0) return true;
    return false;
}

void exn_story_confusion(exn_text *page, const exn_story *s) {
    const exn_figures *f = s->figures;
    exn_page_section(page, "What is taken for what",
                     "Rows: what a photo shows; columns: what the profile answers. Classes that "
                     "neither occur nor are answered are left out.");
    exn_text_put(page, "<div class=\"scroll\"><table><tr><th></th>");
    for (size_t c = 0; c < f->class_count; c++) {
        if (!occurs(f, c)) continue;
        exn_text_put(page, "<th>");
        exn_page_escape(page, s->profile->classes[c]);
        exn_text_put(page, "</th>");
    }
    exn_text_put(page, "</tr>\n");
    for (size_t label = 0; label < f->class_count; label++) {
        const uint32_t *row = f->confusion + label * f->class_count;
        uint32_t total = 0;
        for (size_t c = 0; c < f->class_count; c++) total += row[c];
        if (!occurs(f, label)) continue;
        exn_text_put(page, "<tr><th>");
        exn_page_escape(page, s->profile->classes[label]);
        exn_text_put(page, "</th>");
        for (size_t c = 0; c < f->class_count; c++) {
            if (!occurs(f, c)) continue;
            const double share = total > 0 ? (double)row[c] / (double)total : 0;
            exn_text_put(page, "<td style=\"background:color-mix(in srgb,var(--h%d) %.0f%%,transparent)\">",
                         c == label ? HUE_CHOSEN : HUE_UNTOUCHED, 60 * share);
            if (row[c] > 0) exn_text_put(page, "%u", row[c]);
            exn_text_put(page, "</td>");
        }
        exn_text_put(page, "</tr>\n");
    }
    exn_text_put(page, "</table></div>\n");
}

/* ---- memory ---- */

void exn_story_memory(exn_text *page, const exn_story *s) {
    const exn_arena_plan arena = exn_plan_arena(s->plan);
    const size_t steps = exn_plan_step_count(s->plan);
    const exn_chart chart = {.x1 = (double)steps,
                             .y1 = 1.08 * (double)arena.bytes / 1024,
                             .x_label = "step of the plan",
                             .y_label = "KiB of the arena",
                             .width = PLOT_WIDTH,
                             .height = PLOT_HEIGHT};
    char title[EXN_MESSAGE_BYTES];
    exn_page_section(
        page, "Memory, step by step",
        "Every box is a value or a workspace in the one block of memory that a run uses: from the step that makes it "
        "to the last that reads it, at its place. Point at one to read its size.");
    exn_chart_begin(page, &chart);
    for (size_t i = 0; i < exn_plan_interval_count(s->plan); i++) {
        const exn_plan_interval b = exn_plan_get_interval(s->plan, i);
        if (b.bytes == 0 || b.first >= steps) continue;
        const exn_plan_step step = exn_plan_get_step(s->plan, b.first);
        snprintf(title, sizeof title, "%.1f KiB, steps %zu to %zu, first used by %s (%s)", (double)b.bytes / 1024,
                 b.first, b.last, step.name, step.op);
        const double top = (double)(b.offset + b.bytes) / 1024;
        exn_chart_box(page, &chart, (double)b.first, (double)b.offset / 1024, (double)b.last + 1, top, i, title);
    }
    snprintf(title, sizeof title, "arena %.0f KiB; no plan needs less than %.0f", (double)arena.bytes / 1024,
             (double)arena.lower_bound_bytes / 1024);
    exn_chart_level(page, &chart, (double)arena.bytes / 1024, title);
    exn_chart_end(page);
}

/* ---- decisions ---- */

void exn_story_decisions(exn_text *page, const exn_story *s) {
    const exn_figures *f = s->figures;
    exn_page_section(
        page, "What was decided, and why",
        "Decided from samples held out while personalising. The photos of this page should be others: accuracy on "
        "photos that were learnt from says little.");
    exn_text_put(page,
                 "<div class=\"scroll\"><table><tr><th>exit</th><th>work</th><th>right here</th><th>threshold</th>"
                 "<th>temperature</th><th class=\"long\">decision</th></tr>\n");
    for (size_t e = 0; e < f->exit_count; e++) {
        const exn_exit *exit = &s->profile->exits[e];
        exn_text_put(page, "<tr><td>%zu</td><td>%.0f %%</td><td>%.1f %%</td><td>", e,
                     percent(f->exits[e].cut_macs_fraction), percent(f->exits[e].accuracy));
        if (exit->rule.enabled && e + 1 < f->exit_count)
            exn_text_put(page, "%.3f", (double)exit->rule.threshold);
        else
            exn_text_put(page, "%s", e + 1 < f->exit_count ? "off" : "-");
        exn_text_put(page, "</td><td>%.2f</td><td class=\"long\">", (double)exit->rule.temperature);
        exn_page_escape(page, exit->decision ? exit->decision : "");
        exn_text_put(page, "</td></tr>\n");
    }
    exn_text_put(page, "</table></div>\n");
    if (s->profile->normal.photos)
        exn_text_put(page,
                     "<p>Camera: %s (channels lie %.2f general deviations from what the network was taught on).</p>\n",
                     s->profile->normal.used ? "undone" : "left as it is", s->profile->normal.shift);
    if (s->profile->prior.samples)
        exn_text_put(page, "<p>Class frequencies estimated without labels: %s (%.1f classes in effect).</p>\n",
                     s->profile->prior.used ? "used" : "not used", s->profile->prior.effective);
}
