/* SPDX-License-Identifier: Apache-2.0
 * Runs that are left and begun again: what was kept of one is nothing to a run of another kind. */
#include "tests/unit/small.h"
#include "train/trainer.h"

static exn_context *ctx;
static exn_model *model;
static char *folder, *path;

static void set_up(void) {
    small_set_up(&ctx, &model, &folder, &path, "progress");
}

static void tear_down(void) {
    small_tear_down(ctx, model, folder, path);
}

/* What a run of some kind is made of: forty samples, and where it keeps its progress. */
typedef struct lesson {
    exn_profile *profile;
    exn_trainer *trainer;
} lesson;

static lesson begin(bool keeps, bool half, unsigned without) {
    const exn_trainer_options options = {
        .struct_size = sizeof options, .costs = "macs", .progress_path = keeps ? path : NULL, .cache_half = half};
    lesson l;
    unit_assert_ok(ctx, small_profile(&l.profile, model, EXN_HEAD_POOLED));
    unit_assert_ok(ctx, exn_trainer_create(&l.trainer, l.profile, &options));
    l.trainer->without = without;
    unit_assert_ok(ctx, small_add(l.trainer, 40, 100));
    return l;
}

static void end(lesson *l) {
    exn_trainer_destroy(l->trainer);
    exn_profile_destroy(l->profile);
}

/* By then the last exit is finished, and another one is under way. */
static bool stop_at_twelve(void *user, const exn_progress *progress) {
    size_t *calls = user;
    (void)progress;
    return ++*calls < 12;
}

/* After a pause of the whole method, features in full. */
static void check_begins_anew(bool half, unsigned without) {
    size_t calls = 0;
    set_up();
    lesson kept = begin(true, false, 0);
    ck_assert_int_eq(exn_trainer_run(kept.trainer, stop_at_twelve, &calls), EXN_PAUSED);
    end(&kept);
    lesson other = begin(true, half, without), fresh = begin(false, half, without);
    unit_assert_ok(ctx, exn_trainer_run(other.trainer, NULL, NULL));
    unit_assert_ok(ctx, exn_trainer_run(fresh.trainer, NULL, NULL));
    small_same_profiles(other.profile, fresh.profile);
    end(&other);
    end(&fresh);
    tear_down();
}

START_TEST(other_parts_begin_anew) {
    check_begins_anew(false, EXN_WITHOUT_GATE);
}
END_TEST

START_TEST(another_precision_begins_anew) {
    check_begins_anew(true, 0);
}
END_TEST

/* A newcomer makes the run under way void, and with it the time that it took. */
START_TEST(time_counts_for_its_own_run) {
    size_t calls = 9;
    set_up();
    lesson l = begin(false, false, 0);
    ck_assert_int_eq(exn_trainer_run(l.trainer, stop_at_twelve, &calls), EXN_PAUSED);
    ck_assert_double_gt(l.trainer->used_s, 0);
    unit_assert_ok(ctx, small_add(l.trainer, 1, 100));
    ck_assert_double_eq(l.trainer->used_s, 0);
    end(&l);
    tear_down();
}
END_TEST

int main(void) {
    return unit_run("resume", (const TTest *const[]){other_parts_begin_anew, another_precision_begins_anew,
                                                     time_counts_for_its_own_run, NULL});
}
