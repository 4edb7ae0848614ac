/* SPDX-License-Identifier: Apache-2.0
 * Profiles: made, saved, opened again; damaged, too new, for another network; memory and disks that fail. */
#include "tests/unit/small.h"
#include "train/fresh.h"
#include "train/safetensors.h"
#include "train/state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static exn_context *ctx;
static exn_model *model;
static char *folder, *path;

static void set_up(void) {
    small_set_up(&ctx, &model, &folder, &path, "me.safetensors");
}

static void tear_down(void) {
    small_tear_down(ctx, model, folder, path);
}

START_TEST(fresh_profile_is_the_untouched_network) {
    set_up();
    exn_profile *profile;
    exn_runner *personal, *untouched;
    const exn_runner_options whole = {.struct_size = sizeof whole, .whole_network = true};
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_AUTO));
    ck_assert_uint_eq(exn_profile_exit_count(profile), 3);
    ck_assert_uint_eq(exn_profile_deepest_exit(profile), 2);
    ck_assert_uint_eq(exn_profile_class_count(profile), SMALL_CLASSES);
    ck_assert_str_eq(exn_profile_class_name(profile, 4), "4");
    ck_assert_ptr_null(exn_profile_class_name(profile, 5));
    double before = 0;
    for (size_t e = 0; e < 3; e++) {
        exn_exit_info info = {.struct_size = sizeof info};
        unit_assert_ok(ctx, exn_profile_get_exit(&info, profile, e));
        ck_assert(info.macs_fraction > before);
        ck_assert(info.enabled == (e == 2) && !info.trained && isnan(info.accuracy));
        before = info.macs_fraction;
    }
    exn_exit_info info = {.struct_size = sizeof info};
    unit_assert_fails(ctx, exn_profile_get_exit(&info, profile, 3), EXN_E_INVALID, "exit 3");
    unit_assert_ok(ctx, exn_runner_create(&personal, profile, NULL));
    unit_assert_ok(ctx, exn_runner_create(&untouched, profile, &whole));
    for (size_t i = 0; i < 20; i++) {
        float input[SMALL_INPUT];
        exn_answer a = {.struct_size = sizeof a}, b = a;
        small_input(input, i % SMALL_CLASSES, i);
        unit_assert_ok(ctx, exn_runner_classify_tensor(personal, input, &a));
        unit_assert_ok(ctx, exn_runner_classify_tensor(untouched, input, &b));
        ck_assert_uint_eq(a.label, b.label);
        ck_assert_uint_eq(a.exit, 2);
        unit_assert_same_bits(&a.confidence, &b.confidence, 1);
    }
    exn_runner_destroy(personal);
    exn_runner_destroy(untouched);
    exn_profile_destroy(profile);
    tear_down();
}
END_TEST

START_TEST(options_are_checked) {
    set_up();
    exn_profile *profile;
    static const char *const two[] = {"a", "b"}, *const bad[] = {"a", "b", "c", "d", "\xff"},
                             *const absent[] = {"nowhere"};
    exn_profile_options o = {.struct_size = sizeof o, .classes = two, .class_count = 2};
    unit_assert_fails(ctx, exn_profile_create(&profile, model, &o), EXN_E_INVALID, "2 class names");
    o = (exn_profile_options){.struct_size = sizeof o, .classes = bad, .class_count = 5};
    unit_assert_fails(ctx, exn_profile_create(&profile, model, &o), EXN_E_INVALID, "class 4");
    o = (exn_profile_options){.struct_size = sizeof o, .taps = absent, .tap_count = 1};
    unit_assert_fails(ctx, exn_profile_create(&profile, model, &o), EXN_E_INVALID, "nowhere");
    o = (exn_profile_options){.struct_size = sizeof o, .head = EXN_HEAD_CLASSIFIER};
    unit_assert_fails(ctx, exn_profile_create(&profile, model, &o), EXN_E_INVALID,
                      "linear, pooled, conv, wide or conv2");
    const char *names[2] = {model->taps[1].name, model->taps[0].name};
    o = (exn_profile_options){.struct_size = sizeof o, .taps = names, .tap_count = 2};
    unit_assert_fails(ctx, exn_profile_create(&profile, model, &o), EXN_E_INVALID, "order of depth");
    o.tap_count = 1;
    unit_assert_ok(ctx, exn_profile_create(&profile, model, &o));
    ck_assert_str_eq(profile->exits[0].tap, model->taps[1].name);
    exn_profile_destroy(profile);
    exn_profile_destroy(NULL);
    tear_down();
}
END_TEST

static void check_same(const exn_profile *a, const exn_profile *b) {
    ck_assert_uint_eq(a->exit_count, b->exit_count);
    ck_assert_uint_eq(a->seed, b->seed);
    for (size_t e = 0; e < a->exit_count; e++) {
        ck_assert_str_eq(a->exits[e].tap, b->exits[e].tap);
        ck_assert_str_eq(a->exits[e].decision, b->exits[e].decision);
        ck_assert_mem_eq(&a->exits[e].rule.threshold, &b->exits[e].rule.threshold, sizeof(float));
        ck_assert(isnan(a->exits[e].accuracy) == isnan(b->exits[e].accuracy));
        for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
            exn_shape shape;
            const size_t count = exn_head_tensor_shape(&shape, &a->exits[e].head, (exn_head_tensor)which);
            if (count) unit_assert_same_bits(b->exits[e].head.tensor[which], a->exits[e].head.tensor[which], count);
        }
    }
}

START_TEST(round_trip) {
    set_up();
    for (exn_head_kind kind = EXN_HEAD_LINEAR; kind < EXN_HEAD_KINDS; kind++) {
        if (kind == EXN_HEAD_CLASSIFIER) continue;
        exn_profile *profile, *again;
        unit_assert_ok(ctx, small_profile(&profile, model, kind));
        profile->seed = UINT64_MAX;
        profile->exits[0].rule.threshold = 0.7f;
        unit_assert_ok(ctx, exn_profile_save(profile, path));
        unit_assert_ok(ctx, exn_profile_open(&again, model, path, NULL));
        check_same(profile, again);
        size_t size, size_again;
        uint8_t *bytes = small_read(&size, path);
        unit_assert_ok(ctx, exn_profile_save(again, path));
        uint8_t *bytes_again = small_read(&size_again, path);
        ck_assert_uint_eq(size, size_again);
        ck_assert_mem_eq(bytes, bytes_again, size);
        free(bytes);
        free(bytes_again);
        exn_profile_destroy(profile);
        exn_profile_destroy(again);
    }
    tear_down();
}
END_TEST

START_TEST(lessons_are_kept_the_oldest_go) {
    set_up();
    exn_profile *profile, *again;
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_LINEAR));
    for (size_t i = 0; i < EXN_LESSONS_MAX + 3; i++) {
        const exn_lesson lesson = {
            .labelled = 5 * i, .accuracy = (double)NAN, .exit = {.5, .25, .125 * (double)(i % 8)}};
        exn_history_append(&profile->history, &lesson);
        exn_history_append(&profile->history, &lesson); /* the same samples again: one lesson */
    }
    ck_assert_uint_eq(profile->history.count, EXN_LESSONS_MAX);
    ck_assert_uint_eq(profile->history.lesson[0].labelled, 15);
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    unit_assert_ok(ctx, exn_profile_open(&again, model, path, NULL));
    ck_assert_uint_eq(again->history.count, EXN_LESSONS_MAX);
    for (size_t i = 0; i < EXN_LESSONS_MAX; i++) {
        const exn_lesson *l = &again->history.lesson[i];
        ck_assert(l->labelled == 5 * (i + 3) && l->unlabelled == 0 && isnan(l->accuracy));
        ck_assert(l->exit[0] == .5 && l->exit[2] == .125 * (double)((i + 3) % 8));
    }
    exn_profile_destroy(again);
    small_forge(ctx, profile, path, "\"labelled\":15,", "\"labelled\":-5,");
    unit_assert_fails(ctx, exn_profile_open(&again, model, path, NULL), EXN_E_FORMAT, "history");
    exn_profile_destroy(profile);
    tear_down();
}
END_TEST

START_TEST(names_its_network_relative_to_itself) {
    set_up();
    exn_profile *profile;
    char found[4096];
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_LINEAR));
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    unit_assert_ok(ctx, exn_profile_model_path(found, sizeof found, ctx, path));
    char *real = realpath(found, NULL), *wanted = realpath(model->path, NULL);
    ck_assert_str_eq(real, wanted);
    free(real);
    free(wanted);
    unit_assert_fails(ctx, exn_profile_model_path(found, 3, ctx, path), EXN_E_INVALID, "does not fit");
    exn_profile_destroy(profile);
    tear_down();
}
END_TEST

/* Saved through a link in a folder higher up, a profile must open by its own name and by the link's. */
START_TEST(names_its_network_through_links) {
    set_up();
    char *top = unit_temp_create(), *deep = unit_path(top, "deep"), *link = unit_path(top, "link");
    char *own = unit_path(deep, "own"), *lock = unit_path(deep, "own.lock"), *wanted = realpath(model->path, NULL);
    const char *names[] = {own, link};
    exn_profile *profile;
    ck_assert_int_eq(mkdir(deep, 0700), 0);
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_LINEAR));
    unit_assert_ok(ctx, exn_profile_save(profile, own));
    ck_assert_int_eq(symlink(own, link), 0);
    unit_assert_ok(ctx, exn_profile_save(profile, link));
    for (size_t i = 0; i < 2; i++) {
        char found[4096];
        unit_assert_ok(ctx, exn_profile_model_path(found, sizeof found, ctx, names[i]));
        char *real = realpath(found, NULL);
        ck_assert_msg(real && strcmp(real, wanted) == 0, "%s names %s", names[i], found);
        free(real);
    }
    exn_profile_destroy(profile);
    unlink(lock);
    ck_assert(!unlink(own) && !rmdir(deep));
    free(wanted);
    free(lock);
    free(own);
    free(link);
    free(deep);
    unit_temp_remove(top);
    tear_down();
}
END_TEST

START_TEST(another_network_is_refused) {
    set_up();
    exn_profile *profile;
    exn_model *other;
    char *other_path = unit_source_path("tests/golden/data/fire.onnx");
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_LINEAR));
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    exn_profile_destroy(profile);
    unit_assert_ok(ctx, exn_model_open(&other, ctx, other_path, NULL));
    unit_assert_fails(ctx, exn_profile_open(&profile, other, path, NULL), EXN_E_INVALID, "another network");
    exn_model_destroy(other);
    free(other_path);
    tear_down();
}
END_TEST

/* Where JSON cannot hold a path, nothing is written. */
START_TEST(network_whose_path_is_not_text) {
    set_up();
    size_t size;
    exn_profile *profile;
    exn_model *oddly_named;
    char *odd = unit_path(folder, "net\xff.onnx");
    uint8_t *bytes = small_read(&size, model->path);
    unit_write_file(odd, bytes, size);
    unit_assert_ok(ctx, exn_model_open(&oddly_named, ctx, odd, NULL));
    unit_assert_ok(ctx, small_profile(&profile, oddly_named, EXN_HEAD_LINEAR));
    unit_assert_fails(ctx, exn_profile_save(profile, path), EXN_E_INVALID, "UTF-8");
    ck_assert_int_ne(access(path, F_OK), 0);
    exn_profile_destroy(profile);
    exn_model_destroy(oddly_named);
    free(bytes);
    free(odd);
    tear_down();
}
END_TEST

/* Who forgets struct_size hears of it, instead of being given nothing. */
START_TEST(structs_without_a_size_are_refused) {
    set_up();
    exn_profile *profile = NULL;
    exn_runner *runner;
    exn_trainer *trainer;
    const exn_profile_options no_profile = {.exits = 2};
    const exn_runner_options no_runner = {.whole_network = true};
    const exn_trainer_options no_trainer = {.seed = 3};
    exn_exit_info info = {0};
    exn_answer answer = {0};
    exn_trainer_estimate estimate = {0};
    float input[SMALL_INPUT];
    small_input(input, 0, 0);
    unit_assert_fails(ctx, exn_profile_create(&profile, model, &no_profile), EXN_E_INVALID, "struct_size");
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_LINEAR));
    unit_assert_fails(ctx, exn_profile_get_exit(&info, profile, 0), EXN_E_INVALID, "struct_size");
    unit_assert_fails(ctx, exn_runner_create(&runner, profile, &no_runner), EXN_E_INVALID, "struct_size");
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, NULL));
    ck_assert_int_eq(exn_runner_classify_tensor(runner, input, &answer), EXN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(exn_runner_error(runner), "struct_size"));
    unit_assert_fails(ctx, exn_trainer_create(&trainer, profile, &no_trainer), EXN_E_INVALID, "struct_size");
    unit_assert_ok(ctx, exn_trainer_create(&trainer, profile, NULL));
    unit_assert_fails(ctx, exn_trainer_get_estimate(&estimate, trainer, 5, 5), EXN_E_INVALID, "struct_size");
    estimate.struct_size = sizeof estimate;
    unit_assert_fails(ctx, exn_trainer_get_estimate(&estimate, trainer, SIZE_MAX, 5), EXN_E_INVALID, "addressed");
    exn_trainer_destroy(trainer);
    exn_runner_destroy(runner);
    exn_profile_destroy(profile);
    tear_down();
}
END_TEST

static uint8_t *saved_bytes(size_t *size) {
    exn_profile *profile;
    const exn_profile_options options = {.struct_size = sizeof options, .exits = 1, .head = EXN_HEAD_LINEAR};
    unit_assert_ok(ctx, exn_profile_create(&profile, model, &options));
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    exn_profile_destroy(profile);
    return small_read(size, path);
}

START_TEST(cut_at_every_byte) {
    set_up();
    size_t size;
    uint8_t *bytes = saved_bytes(&size);
    exn_profile *profile;
    for (size_t cut = 0; cut < size; cut++) {
        ck_assert_int_eq(truncate(path, (off_t)(size - 1 - cut)), 0);
        ck_assert_int_ne(exn_profile_open(&profile, model, path, NULL), EXN_OK);
        ck_assert_ptr_nonnull(strstr(exn_context_error(ctx), "me.safetensors"));
    }
    free(bytes);
    tear_down();
}
END_TEST

START_TEST(no_flipped_bit_goes_unnoticed) {
    set_up();
    size_t size;
    uint8_t *bytes = saved_bytes(&size);
    exn_profile *profile;
    FILE *file = fopen(path, "r+b");
    for (size_t i = 0; i < size; i++) {
        const uint8_t flipped = (uint8_t)(bytes[i] ^ (1u << i % 8));
        fseek(file, (long)i, SEEK_SET);
        fputc(flipped, file);
        fflush(file);
        ck_assert_msg(exn_profile_open(&profile, model, path, NULL) != EXN_OK, "byte %zu of %zu", i, size);
        fseek(file, (long)i, SEEK_SET);
        fputc(bytes[i], file);
    }
    fclose(file);
    unit_assert_ok(ctx, exn_profile_open(&profile, model, path, NULL));
    exn_profile_destroy(profile);
    free(bytes);
    tear_down();
}
END_TEST

START_TEST(forged_states_are_refused) {
    set_up();
    exn_profile *profile, *opened;
    static const char *const forged[][3] = {
        {"\"major\":1", "\"major\":2", "version 2"},
        {"\"threshold\":1.0", "\"threshold\":9.0", "threshold"},
        {"\"temperature\":1.0", "\"temperature\":0.0", "temperature"},
        {"\"trained\":false,\"enabled\":false", "\"trained\":false,\"enabled\":true ", "enabled"},
        {"\"kind\":\"pooled\"", "\"kind\":\"linear\"", "tensor"},
        {"\"order\":\"rgb\"", "\"order\":\"cmy\"", "order"},
        {"\"classes\":[\"0\",\"1\"", "\"classes\":[\"0\", 1 ", "classes"},
        {"\"pretrained\":false", "\"pretrained\":true ", "general.0"},
        {"\"general\":{\"temperature\":null", "\"general\":{\"temperature\":-1.0", "temperature"},
        {"\"schema\":\"exeunt.profile\"", "\"schema\":\"exeunt.profane\"", "state of a profile"},
    };
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    for (size_t i = 0; i < sizeof forged / sizeof *forged; i++) {
        small_forge(ctx, profile, path, forged[i][0], forged[i][1]);
        const exn_status status = exn_profile_open(&opened, model, path, NULL);
        ck_assert_msg(status == EXN_E_FORMAT || status == EXN_E_UNSUPPORTED, "%s accepted", forged[i][1]);
        ck_assert_msg(strstr(exn_context_error(ctx), forged[i][2]) != NULL, "%s: %s", forged[i][1],
                      exn_context_error(ctx));
    }
    exn_profile_destroy(profile);
    tear_down();
}
END_TEST

START_TEST(weights_that_are_no_numbers_are_refused) {
    set_up();
    exn_profile *profile, *opened;
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_CONV));
    profile->exits[1].head.tensor[EXN_HEAD_FC_WEIGHT][3] = NAN;
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    unit_assert_fails(ctx, exn_profile_open(&opened, model, path, NULL), EXN_E_FORMAT, "exits.1.fc.weight");
    profile->exits[1].head.tensor[EXN_HEAD_FC_WEIGHT][3] = 0;
    profile->exits[0].head.tensor[EXN_HEAD_BN_VAR][0] = -1;
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    unit_assert_fails(ctx, exn_profile_open(&opened, model, path, NULL), EXN_E_FORMAT, "exits.0.bn.var");
    exn_profile_destroy(profile);
    tear_down();
}
END_TEST

START_TEST(failed_save_keeps_the_old_file) {
    set_up();
    exn_profile *profile;
    exn_lock *lock;
    size_t size, size_after;
    uint8_t *bytes = saved_bytes(&size);
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    unit_assert_ok(ctx, exn_lock_take(&lock, ctx, path));
    unit_assert_fails(ctx, exn_profile_save(profile, path), EXN_E_BUSY, "me.safetensors");
    exn_lock_release(lock);
    profile->exits[0].decision[0] = (char)0xFF; /* no JSON can hold it: fails after the heads were listed */
    unit_assert_fails(ctx, exn_profile_save(profile, path), EXN_E_INVALID, "UTF-8");
    uint8_t *after = small_read(&size_after, path);
    ck_assert_uint_eq(size, size_after);
    ck_assert_mem_eq(bytes, after, size);
    free(bytes);
    free(after);
    exn_profile_destroy(profile);
    tear_down();
}
END_TEST

static exn_status create_save_open(exn_context *failing, void *to) {
    exn_model *net = NULL;
    exn_profile *profile = NULL, *again = NULL;
    exn_status status = small_model(&net, failing);
    if (status == EXN_OK) status = small_profile(&profile, net, EXN_HEAD_CONV);
    if (status == EXN_OK) status = exn_head_copy(&profile->exits[0].general, failing, &profile->exits[0].head);
    if (status == EXN_OK) status = exn_profile_save(profile, to);
    if (status == EXN_OK) status = exn_profile_open(&again, net, to, NULL);
    exn_profile_destroy(again);
    exn_profile_destroy(profile);
    exn_model_destroy(net);
    return status;
}

START_TEST(memory_may_fail) {
    set_up();
    unit_sweep_failures(create_save_open, path);
    tear_down();
}
END_TEST

/* Whoever has Python's safetensors reads the same tensors. */
START_TEST(python_reads_it) {
    set_up();
    exn_profile *profile;
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    char command[5000];
    snprintf(command, sizeof command,
             "p=${EXN_PYTHON:-python3}; $p -c 'import safetensors.numpy' 2>/dev/null || exit 77; $p -c \""
             "import sys, json, safetensors.numpy as s; t = s.load_file(sys.argv[1]); "
             "j = json.loads(t['exeunt.state'].tobytes()); assert j['schema'] == 'exeunt.profile'; "
             "assert t['exits.0.fc.weight'].shape[0] == 5; assert len(j['exits']) == 3\" '%s'",
             path);
    const int result = system(command);
    ck_assert_msg(WIFEXITED(result) && (WEXITSTATUS(result) == 0 || WEXITSTATUS(result) == 77), "python: %d", result);
    exn_profile_destroy(profile);
    tear_down();
}
END_TEST

int main(void) {
    return unit_run("profile",
                    (const TTest *const[]){fresh_profile_is_the_untouched_network, options_are_checked, round_trip,
                                           lessons_are_kept_the_oldest_go, names_its_network_relative_to_itself,
                                           names_its_network_through_links, another_network_is_refused,
                                           network_whose_path_is_not_text, structs_without_a_size_are_refused,
                                           cut_at_every_byte, no_flipped_bit_goes_unnoticed, forged_states_are_refused,
                                           weights_that_are_no_numbers_are_refused, failed_save_keeps_the_old_file,
                                           memory_may_fail, python_reads_it, NULL});
}
