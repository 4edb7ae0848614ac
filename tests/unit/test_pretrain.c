/* SPDX-License-Identifier: Apache-2.0
 * Pretraining: it teaches, nothing but samples, seed and options decides, figures come from photos not seen, and it may stop. */
#include "tests/unit/small.h"
#include "train/pretrain.h"

#include "arch/select.h"
#include "core/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 60u
#define SIDE 12u

typedef struct lesson {
    exn_context *ctx;
    exn_model *model;
    exn_profile *profile;
    exn_pretrainer *pretrainer;
} lesson;

static lesson begin(const char *cpu, size_t threads, exn_head_kind kind, const exn_pretrainer_options *options) {
    lesson l;
    const exn_context_options how = {.struct_size = sizeof how, .cpu = cpu, .threads = threads};
    ck_assert_int_eq(exn_context_create(&l.ctx, &how), EXN_OK);
    unit_assert_ok(l.ctx, small_model(&l.model, l.ctx));
    unit_assert_ok(l.ctx, small_profile(&l.profile, l.model, kind));
    unit_assert_ok(l.ctx, exn_pretrainer_create(&l.pretrainer, l.profile, options));
    return l;
}

static void end(lesson *l) {
    exn_pretrainer_destroy(l->pretrainer);
    exn_profile_destroy(l->profile);
    exn_model_destroy(l->model);
    exn_context_destroy(l->ctx);
}

/* A picture of a class: its pattern, under less noise than small_input's, in grey levels. */
static void paint(uint8_t pixels[SIDE * SIDE * 3], size_t label, size_t index) {
    float level[SMALL_INPUT], chw[SMALL_INPUT];
    for (size_t i = 0; i < SMALL_INPUT; i++) level[i] = 128.0f;
    for (size_t draw = 0; draw < 4; draw++) {
        small_input(chw, label, 4 * index + draw);
        for (size_t i = 0; i < SMALL_INPUT; i++) level[i] += 10.0f * chw[i];
    }
    for (size_t i = 0; i < SMALL_INPUT; i++) pixels[i] = level[i] < 0 ? 0 : level[i] > 255 ? 255 : (uint8_t)level[i];
}

static size_t no_group(size_t index) {
    (void)index;
    return EXN_UNGROUPED;
}

/* From the `first` until before the `last`, in another order for another `shift`. */
static exn_status add_some(exn_pretrainer *pretrainer, size_t shift, size_t first, size_t last,
                           size_t (*group)(size_t)) {
    for (size_t k = first; k < last; k++) {
        const size_t i = (k * 7 + shift) % SAMPLES;
        uint8_t pixels[SIDE * SIDE * 3];
        const exn_image image = {.pixels = pixels, .width = SIDE, .height = SIDE, .channels = 3};
        paint(pixels, i % SMALL_CLASSES, i);
        EXN_TRY(exn_pretrainer_add(pretrainer, &image, (int64_t)(i % SMALL_CLASSES), group(i)));
    }
    return EXN_OK;
}

static exn_status add(exn_pretrainer *pretrainer, size_t shift, size_t (*group)(size_t)) {
    return add_some(pretrainer, shift, 0, SAMPLES, group);
}

static void assert_same_exits(const exn_profile *a, const exn_profile *b) {
    for (size_t e = 0; e < a->exit_count; e++) {
        const exn_exit *x = &a->exits[e], *y = &b->exits[e];
        ck_assert_str_eq(x->decision, y->decision);
        ck_assert(x->general_accuracy == y->general_accuracy && x->general_nll == y->general_nll);
        ck_assert(x->general_temperature == y->general_temperature && x->general.kind == y->general.kind);
        for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
            exn_shape shape;
            const size_t count = exn_head_tensor_shape(&shape, &x->general, (exn_head_tensor)which);
            if (!count) continue;
            unit_assert_same_bits(x->general.tensor[which], y->general.tensor[which], count);
            unit_assert_same_bits(x->head.tensor[which], y->head.tensor[which], count);
        }
    }
}

START_TEST(teaches) {
    for (exn_head_kind kind = EXN_HEAD_POOLED; kind < EXN_HEAD_KINDS; kind++) {
        if (kind == EXN_HEAD_CLASSIFIER) continue;
        const exn_pretrainer_options options = {.struct_size = sizeof options, .refit = true, .epochs = 25};
        lesson l = begin(NULL, 1, kind, &options);
        unit_assert_ok(l.ctx, add(l.pretrainer, 0, no_group));
        unit_assert_ok(l.ctx, exn_pretrainer_run(l.pretrainer, NULL, NULL));
        for (size_t e = 0; e < 3; e++) {
            const exn_exit *exit = &l.profile->exits[e];
            ck_assert(exit->trained && exit->rule.enabled == (e == 2));
            ck_assert_int_eq(exit->general.kind, exit->head.kind);
            /* Convolutions take longer than a test: test_trainer has them learn. */
            const double least = kind == EXN_HEAD_POOLED || e == 2 ? 0.3 : 0.0;
            ck_assert_msg(exit->general_accuracy > least, "kind %d, exit %zu: %g", (int)kind, e,
                          exit->general_accuracy);
            ck_assert(exit->general_nll > 0 && exit->general_temperature > 0);
        }
        end(&l);
    }
}
END_TEST

/* Not refitted, the last exit stays the network's own to the last bit, and its general head says the same. */
START_TEST(untouched_stays_untouched) {
    const exn_pretrainer_options options = {.struct_size = sizeof options, .epochs = 2, .views = 1};
    lesson l = begin(NULL, 1, EXN_HEAD_POOLED, &options);
    unit_assert_ok(l.ctx, add(l.pretrainer, 0, no_group));
    unit_assert_ok(l.ctx, exn_pretrainer_run(l.pretrainer, NULL, NULL));
    const exn_exit *last = &l.profile->exits[2];
    ck_assert(!last->trained && last->general.kind == EXN_HEAD_CLASSIFIER);
    ck_assert_uint_eq(exn_profile_deepest_exit(l.profile), 2);
    exn_runner *personal, *untouched;
    const exn_runner_options whole = {.struct_size = sizeof whole, .whole_network = true};
    unit_assert_ok(l.ctx, exn_runner_create(&personal, l.profile, NULL));
    unit_assert_ok(l.ctx, exn_runner_create(&untouched, l.profile, &whole));
    float input[SMALL_INPUT];
    exn_answer a = {.struct_size = sizeof a}, b = a;
    small_input(input, 1, 1);
    unit_assert_ok(l.ctx, exn_runner_classify_tensor(personal, input, &a));
    unit_assert_ok(l.ctx, exn_runner_classify_tensor(untouched, input, &b));
    unit_assert_same_bits(&a.confidence, &b.confidence, 1);
    exn_runner_destroy(personal);
    exn_runner_destroy(untouched);
    double moved = 0;
    for (size_t i = 0; i < last->general.c; i++) moved += fabs((double)last->general.tensor[EXN_HEAD_MEAN][i]);
    ck_assert(moved > 0);
    end(&l);
}
END_TEST

/* What a person's photos decided was decided for other heads. */
START_TEST(new_heads_drop_what_was_decided) {
    const exn_pretrainer_options options = {.struct_size = sizeof options, .epochs = 1, .views = 1};
    const exn_trainer_options personal = {.struct_size = sizeof personal, .costs = "macs"};
    lesson l = begin(NULL, 1, EXN_HEAD_POOLED, &options);
    exn_trainer *trainer;
    exn_exit_rule rules[EXN_EXITS_MAX];
    unit_assert_ok(l.ctx, exn_trainer_create(&trainer, l.profile, &personal));
    unit_assert_ok(l.ctx, small_add(trainer, 30, 100));
    unit_assert_ok(l.ctx, exn_trainer_run(trainer, NULL, NULL));
    exn_trainer_destroy(trainer);
    l.profile->normal = (exn_normalisation){.used = true, .gain = {2, 2, 2}, .photos = 30, .shift = 2};
    unit_assert_ok(l.ctx, exn_profile_rules(rules, l.profile, EXN_TARGET_UNTOUCHED));
    unit_assert_ok(l.ctx, exn_profile_set_target(l.profile, EXN_TARGET_UNTOUCHED));
    unit_assert_ok(l.ctx, add(l.pretrainer, 0, no_group));
    unit_assert_ok(l.ctx, exn_pretrainer_run(l.pretrainer, NULL, NULL));
    unit_assert_fails(l.ctx, exn_profile_rules(rules, l.profile, EXN_TARGET_UNTOUCHED), EXN_E_INVALID, "personalise");
    ck_assert(!l.profile->normal.used && l.profile->labelled == 0 && isnan(l.profile->accuracy));
    ck_assert_int_eq(exn_profile_get_target(l.profile), EXN_TARGET_KEEP);
    end(&l);
}
END_TEST

static bool every_third(void *user, const exn_progress *progress) {
    size_t *calls = user;
    ck_assert(progress->phase == EXN_PHASE_TRAIN && progress->done <= progress->total);
    return ++*calls % 3 != 0;
}

START_TEST(order_threads_sets_and_pauses_change_nothing) {
    const exn_pretrainer_options options = {.struct_size = sizeof options, .epochs = 3};
    lesson plain = begin(NULL, 1, EXN_HEAD_CONV, &options);
    unit_assert_ok(plain.ctx, add(plain.pretrainer, 0, no_group));
    unit_assert_ok(plain.ctx, exn_pretrainer_run(plain.pretrainer, NULL, NULL));
    static const char *const sets[] = {NULL, "scalar_fma"};
    for (size_t i = 0; i < 4; i++) {
        lesson l = begin(sets[i % 2], 1 + i, EXN_HEAD_CONV, &options);
        size_t calls = 0;
        exn_status status;
        unit_assert_ok(l.ctx, add(l.pretrainer, 11 * i, no_group));
        if (i == 3) unit_assert_ok(l.ctx, add(l.pretrainer, 5, no_group)); /* every photo twice */
        do {
            status = exn_pretrainer_run(l.pretrainer, i == 0 ? every_third : NULL, &calls);
        } while (status == EXN_PAUSED);
        unit_assert_ok(l.ctx, status);
        assert_same_exits(plain.profile, l.profile);
        end(&l);
    }
    end(&plain);
}
END_TEST

/* Trials choose between the kinds with convolutions, the same way again; what stays after pruning is better the deeper it is. */
START_TEST(chooses_and_prunes) {
    const exn_pretrainer_options options = {
        .struct_size = sizeof options, .epochs = 2, .choose_heads = true, .prune = true, .costs = "macs"};
    lesson l[2];
    for (size_t i = 0; i < 2; i++) {
        l[i] = begin(NULL, 1 + i, EXN_HEAD_CONV, &options);
        unit_assert_ok(l[i].ctx, add(l[i].pretrainer, i, no_group));
        unit_assert_ok(l[i].ctx, exn_pretrainer_run(l[i].pretrainer, NULL, NULL));
        unit_assert_fails(l[i].ctx, exn_pretrainer_run(l[i].pretrainer, NULL, NULL), EXN_E_INVALID, "has run");
    }
    const exn_profile *profile = l[0].profile;
    ck_assert_uint_eq(profile->exit_count, l[1].profile->exit_count);
    assert_same_exits(profile, l[1].profile);
    for (size_t e = 0; e + 1 < profile->exit_count; e++) {
        const exn_exit *exit = &profile->exits[e];
        ck_assert_uint_gt(exn_head_stages(exit->head.kind), 0);
        if (e) ck_assert(exit->general_accuracy > profile->exits[e - 1].general_accuracy);
    }
    for (size_t i = 0; i < 2; i++) end(&l[i]);
    exn_pretrainer *pretrainer;
    lesson pooled = begin(NULL, 1, EXN_HEAD_POOLED, NULL);
    unit_assert_fails(pooled.ctx, exn_pretrainer_create(&pretrainer, pooled.profile, &options), EXN_E_INVALID, "conv");
    end(&pooled);
}
END_TEST

static size_t family(size_t index) {
    return index / 4;
}

/* Labels that mean nothing can be learned by heart, but not known beforehand; and whoever shares a group shares a fold. */
START_TEST(figures_come_from_photos_not_seen) {
    const exn_pretrainer_options options = {.struct_size = sizeof options, .epochs = 30, .views = 1};
    lesson l = begin(NULL, 1, EXN_HEAD_POOLED, &options);
    for (size_t i = 0; i < SAMPLES; i++) { /* four near-equal photos with one label make a group */
        uint8_t pixels[SIDE * SIDE * 3];
        const exn_image image = {.pixels = pixels, .width = SIDE, .height = SIDE, .channels = 3};
        exn_rng rng = exn_rng_seed(family(i), 3);
        for (size_t j = 0; j < sizeof pixels; j++) pixels[j] = (uint8_t)exn_rng_below(&rng, 250);
        pixels[i % 4] += (uint8_t)(1 + i % 4);
        unit_assert_ok(l.ctx,
                       exn_pretrainer_add(l.pretrainer, &image, (int64_t)(family(i) * 7 % SMALL_CLASSES), family(i)));
    }
    unit_assert_ok(l.ctx, exn_pretrainer_run(l.pretrainer, NULL, NULL));
    const exn_pretrainer *p = l.pretrainer;
    ck_assert_uint_eq(p->folds, 3); /* however many photos there are */
    ck_assert_uint_eq(p->photo_count, SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++)
        for (size_t j = 0; j < i; j++)
            if (p->photo[i].group == p->photo[j].group) ck_assert_uint_eq(p->photo[i].fold, p->photo[j].fold);
    for (size_t e = 0; e < 3; e++) {
        const exn_exit *exit = &l.profile->exits[e];
        ck_assert_msg(exit->general_accuracy < 0.55, "exit %zu: %g of labels that mean nothing", e,
                      exit->general_accuracy);
        for (size_t f = 0; f < p->folds; f++) ck_assert_int_eq(p->fold_head[f * 3 + e].kind, exit->head.kind);
    }
    end(&l);
}
END_TEST

/* Photos that come after a pause are divided as if all had come at once. */
START_TEST(newcomers_join_their_groups) {
    const exn_pretrainer_options options = {.struct_size = sizeof options, .epochs = 1, .views = 1};
    size_t (*const groups[])(size_t) = {no_group, family};
    if (unit_emulated()) return;
    for (size_t g = 0; g < 2; g++) {
        lesson once = begin(NULL, 1, EXN_HEAD_POOLED, &options), twice = begin(NULL, 1, EXN_HEAD_POOLED, &options);
        size_t calls = 2;
        unit_assert_ok(once.ctx, add(once.pretrainer, 0, groups[g]));
        unit_assert_ok(once.ctx, exn_pretrainer_run(once.pretrainer, NULL, NULL));
        unit_assert_ok(twice.ctx, add_some(twice.pretrainer, 0, 0, SAMPLES / 2, groups[g]));
        ck_assert_int_eq(exn_pretrainer_run(twice.pretrainer, every_third, &calls), EXN_PAUSED);
        unit_assert_ok(twice.ctx, add_some(twice.pretrainer, 0, SAMPLES / 2, SAMPLES, groups[g]));
        unit_assert_ok(twice.ctx, exn_pretrainer_run(twice.pretrainer, NULL, NULL));
        assert_same_exits(once.profile, twice.profile);
        end(&once);
        end(&twice);
    }
}
END_TEST

START_TEST(budgets_and_misuse) {
    exn_pretrainer_options options = {.struct_size = sizeof options, .time_budget_s = 1e-9};
    lesson l = begin(NULL, 1, EXN_HEAD_POOLED, &options);
    float input[SMALL_INPUT];
    small_input(input, 0, 0);
    unit_assert_fails(l.ctx, exn_pretrainer_run(l.pretrainer, NULL, NULL), EXN_E_INVALID, "no samples");
    unit_assert_fails(l.ctx, exn_pretrainer_add_tensor(l.pretrainer, input, EXN_UNLABELLED, 0), EXN_E_INVALID, "label");
    unit_assert_fails(l.ctx, exn_pretrainer_add_tensor(l.pretrainer, input, SMALL_CLASSES, 0), EXN_E_INVALID, "label");
    unit_assert_fails(l.ctx, exn_pretrainer_add_tensor(l.pretrainer, NULL, 0, 0), EXN_E_INVALID, "chw");
    unit_assert_ok(l.ctx, exn_pretrainer_add_tensor(l.pretrainer, input, 0, 0));
    unit_assert_fails(l.ctx, exn_pretrainer_add_tensor(l.pretrainer, input, 0, EXN_UNGROUPED), EXN_E_INVALID, "group");
    ck_assert_uint_gt(exn_pretrainer_cache_bytes(l.pretrainer, 10), 10 * SMALL_CLASSES * sizeof(float));
    ck_assert_uint_eq(exn_pretrainer_cache_bytes(l.pretrainer, SIZE_MAX), SIZE_MAX);
    unit_assert_ok(l.ctx, exn_pretrainer_run(l.pretrainer, NULL, NULL)); /* nothing in no time */
    for (size_t e = 0; e < 3; e++) {
        ck_assert_int_eq(l.profile->exits[e].general.kind, EXN_HEAD_AUTO);
        ck_assert(!l.profile->exits[e].trained && isnan(l.profile->exits[e].general_accuracy));
    }
    end(&l);
    options = (exn_pretrainer_options){.struct_size = sizeof options, .time_budget_s = -1};
    exn_pretrainer *pretrainer;
    l = begin(NULL, 1, EXN_HEAD_POOLED, NULL);
    unit_assert_fails(l.ctx, exn_pretrainer_create(&pretrainer, l.profile, &options), EXN_E_INVALID, "budget");
    options = (exn_pretrainer_options){.struct_size = sizeof options, .views = EXN_VIEWS_MAX + 1};
    unit_assert_fails(l.ctx, exn_pretrainer_create(&pretrainer, l.profile, &options), EXN_E_INVALID, "views");
    end(&l);
}
END_TEST

/* Each view is another, the cache has room for all, and how many there are changes nothing about the number of steps. */
START_TEST(views_are_other_looks_at_a_photo) {
    size_t steps[2];
    for (size_t i = 0; i < 2; i++) {
        const exn_pretrainer_options options = {.struct_size = sizeof options, .epochs = 2, .views = 1 + 4 * i};
        lesson l = begin(NULL, 1, EXN_HEAD_POOLED, &options);
        unit_assert_ok(l.ctx, add(l.pretrainer, 0, no_group));
        unit_assert_ok(l.ctx, exn_pretrain_begin(l.pretrainer));
        steps[i] = l.pretrainer->steps_total;
        const exn_general_photo *photo = l.pretrainer->photo;
        for (size_t k = 0; k < l.pretrainer->photo_count; k++) {
            ck_assert_uint_eq(photo[k].extras, 4 * i);
            for (size_t v = 0; v < photo[k].extras; v++)
                for (size_t u = 0; u <= v; u++)
                    ck_assert_uint_ne(photo[k].extra[v], u ? photo[k].extra[u - 1] : photo[k].record);
        }
        ck_assert_uint_eq(exn_pretrainer_cache_bytes(l.pretrainer, 12) % (1 + 4 * i), 0);
        end(&l);
    }
    ck_assert_uint_eq(steps[0], steps[1]);
}
END_TEST

static exn_status teach_a_little(exn_context *ctx, void *user) {
    const exn_pretrainer_options options = {.struct_size = sizeof options, .epochs = 1, .refit = true};
    exn_model *model = NULL;
    exn_profile *profile = NULL;
    exn_pretrainer *pretrainer = NULL;
    (void)user;
    exn_status status = small_model(&model, ctx);
    if (status == EXN_OK) status = small_profile(&profile, model, EXN_HEAD_CONV);
    if (status == EXN_OK) status = exn_pretrainer_create(&pretrainer, profile, &options);
    for (size_t i = 0; i < 3 && status == EXN_OK; i++) {
        float input[SMALL_INPUT];
        small_input(input, i, i);
        status = exn_pretrainer_add_tensor(pretrainer, input, (int64_t)i, i);
    }
    if (status == EXN_OK) status = exn_pretrainer_run(pretrainer, NULL, NULL);
    exn_pretrainer_destroy(pretrainer);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    return status;
}

START_TEST(memory_may_fail) {
    unit_sweep_failures_onward(teach_a_little, NULL);
}
END_TEST

int main(void) {
    return unit_run("pretrain", (const TTest *const[]){
                                    teaches, untouched_stays_untouched, new_heads_drop_what_was_decided,
                                    order_threads_sets_and_pauses_change_nothing, chooses_and_prunes,
                                    figures_come_from_photos_not_seen, newcomers_join_their_groups,
                                    views_are_other_looks_at_a_photo, budgets_and_misuse, memory_may_fail, NULL});
}
