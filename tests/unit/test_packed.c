/* SPDX-License-Identifier: Apache-2.0
 * Files of packed weights: whole, absent, stale, damaged everywhere, made by many at once, on disks that refuse; and weights
 * that no plan needs. */
#include "arch/cpu.h"
#include "arch/select.h"
#include "graph/packed.h"
#include "graph/step.h"
#include "kernels/conv.h"
#include "tests/unit/small.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEADER_BYTES = 64, ENTRY_BYTES = 48 };

static exn_context *ctx;
static exn_model *model;
static char *folder, *path;
static float expected[SMALL_CLASSES];

typedef struct outcome {
    float logits[SMALL_CLASSES];
    bool mapped; /* every packed weight came from the file */
} outcome;

static exn_status run_plan(outcome *out, exn_context *own, const exn_model *network, const char *set,
                           const char *packed) {
    exn_kernel_set kernels;
    exn_plan *plan;
    exn_exec *exec;
    float input[SMALL_INPUT], *sink = out->logits;
    EXN_TRY(exn_kernels_select(&kernels, own, exn_cpu_detect(), set));
    const exn_plan_options options = {
        .kernels = &kernels, .threads = 1, .outputs = &network->graph->output, .output_count = 1, .packed = packed};
    EXN_TRY(exn_plan_create(&plan, network->graph, &options));
    const exn_status status = exn_exec_create(&exec, own, plan);
    if (status == EXN_OK) {
        small_input(input, 1, 1);
        exn_exec_set_nchw(exec, input);
        exn_exec_run(exec, &sink);
        out->mapped = packed && plan->packed.count == 0;
        exn_exec_destroy(exec);
    }
    exn_plan_destroy(plan);
    return status;
}

static void set_up(void) {
    ctx = unit_context();
    unit_assert_ok(ctx, small_model(&model, ctx));
    folder = unit_temp_create();
    path = unit_path(folder, "weights.packed");
    outcome plain;
    unit_assert_ok(ctx, run_plan(&plain, ctx, model, NULL, NULL));
    memcpy(expected, plain.logits, sizeof expected);
}

static void tear_down(void) {
    exn_model_destroy(model);
    exn_context_destroy(ctx);
    free(path);
    unit_temp_remove(folder);
}

/* Whatever the file holds, the answers are the network's. */
static outcome assert_right(void) {
    outcome got;
    unit_assert_ok(ctx, run_plan(&got, ctx, model, NULL, path));
    unit_assert_same_bits(got.logits, expected, SMALL_CLASSES);
    return got;
}

static void assert_runs(bool mapped) {
    ck_assert_int_eq(assert_right().mapped, mapped);
}

START_TEST(made_once_then_mapped) {
    assert_runs(false);
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 07777, 0600);
    assert_runs(true);
    assert_runs(true);
    ck_assert_int_eq(unlink(path), 0);
    assert_runs(false);
}
END_TEST

START_TEST(another_set_or_other_weights_start_anew) {
    outcome scalar, again;
    assert_runs(false);
    unit_assert_ok(ctx, run_plan(&scalar, ctx, model, "scalar", path));
    ck_assert(!scalar.mapped);
    unit_assert_ok(ctx, run_plan(&again, ctx, model, "scalar", path));
    ck_assert(again.mapped);
    unit_assert_same_bits(again.logits, scalar.logits, SMALL_CLASSES);
    assert_runs(false);
    assert_runs(true);
    float changed[64] = {0};
    for (size_t i = 0; i < model->graph->value_count; i++) {
        exn_value *value = &model->graph->values[i];
        const size_t count = value->data ? exn_shape_elements(&value->shape) : 0;
        if (value->dtype != EXN_F32 || value->shape.rank != 4 || count == 0 || count > 64) continue;
        value->data = changed;
        value->aligned = true;
    }
    outcome other, plain;
    unit_assert_ok(ctx, run_plan(&plain, ctx, model, NULL, NULL));
    unit_assert_ok(ctx, run_plan(&other, ctx, model, NULL, path));
    ck_assert(!other.mapped);
    unit_assert_same_bits(other.logits, plain.logits, SMALL_CLASSES);
}
END_TEST

/* Whatever stands in the file: right answers, and the whole file back. */
static void assert_recovers(const uint8_t *bytes, size_t count, const uint8_t *whole, size_t size) {
    unit_write_file(path, bytes, count);
    assert_runs(false);
    size_t made;
    uint8_t *now = small_read(&made, path);
    ck_assert_uint_eq(made, size);
    ck_assert_int_eq(memcmp(now, whole, size), 0);
    free(now);
}

START_TEST(cut_short_at_every_section) {
    size_t size;
    assert_runs(false);
    uint8_t *whole = small_read(&size, path);
    uint64_t sections;
    memcpy(&sections, whole + 8, sizeof sections);
    ck_assert_uint_gt(sections, 5);
    unit_write_file(path, "", 0);
    assert_runs(false);
    const size_t early[] = {1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, HEADER_BYTES + ENTRY_BYTES, size - 1};
    for (size_t i = 0; i < sizeof early / sizeof *early; i++) assert_recovers(whole, early[i], whole, size);
    for (size_t i = 0; i < sections; i++) {
        uint64_t offset, bytes;
        memcpy(&offset, whole + HEADER_BYTES + i * ENTRY_BYTES + 32, sizeof offset);
        memcpy(&bytes, whole + HEADER_BYTES + i * ENTRY_BYTES + 40, sizeof bytes);
        ck_assert_uint_eq(offset % EXN_ALIGNMENT, 0);
        assert_recovers(whole, (size_t)offset, whole, size);
        assert_recovers(whole, (size_t)(offset + bytes / 2), whole, size);
    }
    free(whole);
}
END_TEST

START_TEST(flipped_bytes_are_never_used) {
    size_t size;
    assert_runs(false);
    uint8_t *whole = small_read(&size, path), *copy = malloc(size);
    for (size_t at = 0; at < size; at += at < 1024 ? 1 : 97) {
        memcpy(copy, whole, size);
        copy[at] ^= (uint8_t)(1u << at % 8);
        unit_write_file(path, copy, size);
        assert_right();
    }
    free(copy);
    free(whole);
}
END_TEST

/* Sizes and places that a checksum vouches for, and that no file can have. */
START_TEST(tables_that_lie) {
    size_t size;
    assert_runs(false);
    uint8_t *whole = small_read(&size, path), *copy = malloc(size);
    uint64_t sections;
    memcpy(&sections, whole + 8, sizeof sections);
    const uint64_t lies[] = {0, 1, 4, 64, size - 4, size, size + 64, UINT64_MAX, UINT64_MAX - 63, (uint64_t)1 << 63};
    for (size_t field = 32; field <= 40; field += 8)
        for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
            memcpy(copy, whole, size);
            memcpy(copy + HEADER_BYTES + field, &lies[i], sizeof lies[i]);
            uint8_t bare[HEADER_BYTES];
            memcpy(bare, copy, sizeof bare);
            memset(bare + 32, 0, sizeof(exn_hash));
            const exn_hash both[2] = {exn_hash_bytes(bare, sizeof bare),
                                      exn_hash_bytes(copy + HEADER_BYTES, (size_t)sections * ENTRY_BYTES)};
            const exn_hash hash = exn_hash_bytes(both, sizeof both);
            memcpy(copy + 32, &hash, sizeof hash);
            unit_write_file(path, copy, size);
            assert_right();
        }
    free(copy);
    free(whole);
}
END_TEST

/* Each child makes, reads and throws away the file, so that every one meets the others' at every stage. */
START_TEST(many_processes_at_once) {
    enum { CHILDREN = 4, ROUNDS = 40 };
    pid_t child[CHILDREN];
    for (size_t c = 0; c < CHILDREN; c++) {
        child[c] = fork();
        ck_assert_int_ge(child[c], 0);
        if (child[c] != 0) continue;
        bool right = true;
        for (size_t i = 0; i < ROUNDS; i++) {
            outcome got;
            right = right && run_plan(&got, ctx, model, NULL, path) == EXN_OK &&
                    memcmp(got.logits, expected, sizeof expected) == 0;
            if (i % 8 == c) unlink(path);
        }
        _exit(right ? 0 : 1);
    }
    for (size_t c = 0; c < CHILDREN; c++) {
        int status = 1;
        ck_assert_int_eq(waitpid(child[c], &status, 0), child[c]);
        ck_assert_int_eq(status, 0);
    }
    assert_runs(access(path, F_OK) == 0);
    assert_runs(true);
}
END_TEST

START_TEST(a_folder_that_cannot_be_written) {
    char *nowhere = unit_path(folder, "none/weights.packed");
    outcome got;
    unit_assert_ok(ctx, run_plan(&got, ctx, model, NULL, nowhere));
    unit_assert_same_bits(got.logits, expected, SMALL_CLASSES);
    unit_assert_ok(ctx, run_plan(&got, ctx, model, NULL, folder));
    unit_assert_same_bits(got.logits, expected, SMALL_CLASSES);
    free(nowhere);
    const pid_t child = fork(); /* for root no folder is read-only */
    if (child == 0) {
        bool right = chmod(folder, 0555) == 0 && (geteuid() != 0 || setuid(65534) == 0);
        right = right && run_plan(&got, ctx, model, NULL, path) == EXN_OK && access(path, F_OK) != 0;
        _exit(right && memcmp(got.logits, expected, sizeof expected) == 0 ? 0 : 1);
    }
    int status = 1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    chmod(folder, 0700);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_full_disk_keeps_the_old_file) {
    outcome scalar;
    size_t size, kept;
    unit_assert_ok(ctx, run_plan(&scalar, ctx, model, "scalar", path));
    uint8_t *whole = small_read(&size, path);
    signal(SIGXFSZ, SIG_IGN); /* the limit stands in for a full disk: write() fails half-way */
    const struct rlimit small = {size / 2, size};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_runs(false);
    uint8_t *now = small_read(&kept, path);
    ck_assert_uint_eq(kept, size);
    ck_assert_int_eq(memcmp(now, whole, size), 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(folder), 0); /* nothing else was left behind */
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    free(now);
    free(whole);
}
END_TEST

static exn_status make_and_read(exn_context *own, void *user) {
    exn_model *network = NULL;
    outcome got;
    exn_status status = small_model(&network, own);
    for (size_t i = 0; i < 2 && status == EXN_OK; i++) status = run_plan(&got, own, network, NULL, user);
    exn_model_destroy(network);
    return status;
}

START_TEST(memory_may_fail) {
    unit_sweep_failures(make_and_read, path);
}
END_TEST

/* ---- Weights that no plan needs. ---- */

/* The network of data/late.onnx with its tail in a file of its own, and a profile that leaves before it. */
static exn_model *open_late(const char *onnx, const char *tail, float value) {
    float weights[228 * 8 * 9];
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) weights[i] = value;
    unit_write_file(tail, weights, sizeof weights);
    exn_model *late;
    unit_assert_ok(ctx, exn_model_open(&late, ctx, onnx, NULL));
    return late;
}

static void classify(const exn_profile *profile, const char *packed) {
    const exn_runner_options options = {.struct_size = sizeof options, .packed = packed};
    float input[2 * 12 * 12] = {0.5f};
    exn_runner *runner;
    exn_answer answer = {.struct_size = sizeof answer};
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, &options));
    unit_assert_ok(ctx, exn_runner_classify_tensor(runner, input, &answer));
    ck_assert_uint_eq(answer.exit, 0);
    exn_runner_destroy(runner);
}

START_TEST(what_no_exit_needs_is_never_read) {
    static const char *const tap = "r";
    char *source = unit_source_path("tests/unit/data/late.onnx"), *onnx = unit_path(folder, "late.onnx");
    char *tail = unit_path(folder, "tail.bin"), *mine = unit_path(folder, "me.safetensors");
    size_t size;
    uint8_t *bytes = small_read(&size, source);
    unit_write_file(onnx, bytes, size);
    exn_model *late = open_late(onnx, tail, 0.25f);
    const exn_profile_options early = {.struct_size = sizeof early, .taps = &tap, .tap_count = 1};
    exn_profile *profile;
    exn_runner *runner;
    unit_assert_ok(ctx, exn_profile_create(&profile, late, &early));
    profile->exits[0].trained = profile->exits[0].rule.enabled = true;
    profile->exits[0].rule.threshold = 0;
    ck_assert_uint_eq(exn_profile_deepest_exit(profile), 0);
    unit_assert_ok(ctx, exn_profile_save(profile, mine));
    unit_assert_ok(ctx, exn_profile_verify(profile));
    exn_profile_destroy(profile);
    exn_model_destroy(late);

    late = open_late(onnx, tail, (float)NAN); /* whoever reads it says so */
    unit_assert_ok(ctx, exn_profile_open(&profile, late, mine, NULL));
    classify(profile, NULL);
    classify(profile, path);
    const exn_runner_options whole = {.struct_size = sizeof whole, .whole_network = true};
    unit_assert_fails(ctx, exn_runner_create(&runner, profile, &whole), EXN_E_FORMAT, "'t': element 0 is not finite");
    unit_assert_fails(ctx, exn_profile_verify(profile), EXN_E_INVALID, "weights have changed");
    ck_assert_int_eq(truncate(tail, 0), 0); /* whoever reads it now dies of SIGBUS */
    classify(profile, NULL);
    classify(profile, path);
    exn_profile_destroy(profile);
    exn_model_destroy(late);
    free(bytes);
    free(mine);
    free(tail);
    free(onnx);
    free(source);
}
END_TEST

START_TEST(plans_lend) {
    exn_kernel_set kernels, scalar;
    unit_assert_ok(ctx, exn_kernels_select(&kernels, ctx, exn_cpu_detect(), NULL));
    unit_assert_ok(ctx, exn_kernels_select(&scalar, ctx, 0, "scalar"));
    exn_plan *lender, *borrower, *stranger;
    exn_plan_options options = {
        .kernels = &kernels, .threads = 1, .outputs = &model->graph->output, .output_count = 1, .lends = true};
    unit_assert_ok(ctx, exn_plan_create(&lender, model->graph, &options));
    options.lends = false;
    options.lender = lender;
    unit_assert_ok(ctx, exn_plan_create(&borrower, model->graph, &options));
    options.kernels = &scalar;
    unit_assert_ok(ctx, exn_plan_create(&stranger, model->graph, &options));
    ck_assert_uint_gt(exn_plan_packed_bytes(lender), 0);
    ck_assert_uint_eq(exn_plan_packed_bytes(borrower), 0);
    if (strcmp(kernels.name, scalar.name) != 0) ck_assert_uint_gt(exn_plan_packed_bytes(stranger), 0);
    for (size_t s = 0; s < borrower->step_count; s++)
        ck_assert_ptr_eq(borrower->steps[s].weights, lender->steps[s].weights);
    exn_plan_destroy(borrower);
    exn_plan_destroy(stranger);
    exn_plan_destroy(lender);
}
END_TEST

/* ---- The layout that EXN_PACKED_LAYOUT stands for. ---- */

START_TEST(layouts_have_a_number) {
    static const exn_conv_shape shapes[] = {
        {1, 5, 5, 9, 5, 5, 37, 1, 1, 1, 1, 1, 1, 0, 0, 1},   {1, 5, 5, 9, 5, 5, 37, 3, 3, 1, 1, 1, 1, 1, 1, 1},
        {1, 5, 5, 12, 5, 5, 12, 3, 3, 1, 1, 1, 1, 1, 1, 12}, {1, 5, 5, 12, 5, 5, 12, 5, 5, 1, 1, 1, 1, 2, 2, 12},
        {1, 5, 5, 12, 5, 5, 40, 3, 3, 1, 1, 1, 1, 1, 1, 2},
    };
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_select(&set, ctx, 0, "scalar"));
    set.f32_gemm[0].nr = 16; /* so that only the layout counts, not which tiles a set has */
    set.f32_gemm[1].run = NULL;
    set.f32_dwconv.panel = 8;
    float weights[37 * 9 * 9 + 81], *packed = calloc(1 << 16, sizeof *packed);
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) weights[i] = (float)(i % 251) - 100.0f;
    exn_hash all = {EXN_PACKED_LAYOUT, 0};
    const size_t direct = sizeof shapes / sizeof *shapes;
    for (size_t i = 0; i < direct + EXN_WINOGRADS; i++) {
        exn_conv conv;
        if (i < direct)
            exn_conv_prepare(&conv, &set, &shapes[i], EXN_ACT_NONE, 0, 0);
        else
            exn_conv_prepare_winograd(&conv, &set, &shapes[1], i == direct ? 2 : 4, EXN_ACT_NONE, 0, 0);
        ck_assert_uint_le(conv.packed_count, 1 << 16);
        exn_conv_pack(packed, &conv, weights, weights + 40, weights + 80);
        const exn_hash both[2] = {all, exn_hash_bytes(packed, conv.packed_count * sizeof *packed)};
        all = exn_hash_bytes(both, sizeof both);
    }
    free(packed);
    ck_assert_msg(all.low == 0x9e1b3ac5b6187bd6u,
                  "packed weights have another layout (%#llx): raise EXN_PACKED_LAYOUT, and put this here",
                  (unsigned long long)all.low);
}
END_TEST

int main(void) {
    return unit_run_with("packed", set_up, tear_down,
                         (const TTest *const[]){
                             made_once_then_mapped, another_set_or_other_weights_start_anew, cut_short_at_every_section,
                             flipped_bytes_are_never_used, tables_that_lie, many_processes_at_once,
                             a_folder_that_cannot_be_written, a_full_disk_keeps_the_old_file, memory_may_fail,
                             what_no_exit_needs_is_never_read, plans_lend, layouts_have_a_number, NULL});
}
