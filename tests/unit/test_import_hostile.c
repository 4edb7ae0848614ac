/* SPDX-License-Identifier: Apache-2.0
 * Damaged files and failing allocations: the importer may refuse, it may not misbehave. Meant for sanitizers. */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "graph/dump.h"
#include "graph/fold.h"
#include "graph/infer.h"
#include "graph/model.h"
#include "graph/run.h"

#define FLIPS 20000u

static exn_context *ctx;

static void set_up(void) {
    ctx = unit_context();
}
static void tear_down(void) {
    exn_context_destroy(ctx);
}

static exn_status bind_all(const exn_graph *source) {
    exn_graph *graph;
    exn_tap *taps;
    size_t count;
    char *text;
    const size_t *declared = source->values[source->input].shape.dim;
    EXN_TRY(exn_graph_bind(&graph, source, 2, declared[2] == 0 ? 8 : declared[2], declared[3] == 0 ? 8 : declared[3]));
    exn_status status = exn_graph_fold(graph);
    if (status == EXN_OK && exn_taps_find(&taps, &count, graph) == EXN_OK) exn_free(ctx, taps);
    if (status == EXN_OK) status = exn_graph_text(&text, graph);
    if (status == EXN_OK) exn_free(ctx, text);
    exn_graph_destroy(graph);
    return status;
}

/* Imports bytes that end exactly where their block ends. */
static exn_status import_bytes(const uint8_t *bytes, size_t size) {
    exn_graph *source;
    exn_externals externals = {0};
    const exn_mapping file = {bytes, size};
    exn_status status = exn_import_onnx(&source, &externals, ctx, &file, "memory");
    if (status == EXN_OK) {
        status = bind_all(source);
        exn_graph_destroy(source);
    }
    exn_externals_close(&externals, ctx);
    if (status != EXN_OK) ck_assert_str_ne(exn_context_error(ctx), "");
    return status;
}

static uint8_t *read_data(const char *relative, size_t *size) {
    char *path = unit_source_path(relative);
    exn_mapping file;
    unit_assert_ok(ctx, exn_mapping_open(&file, ctx, path));
    uint8_t *bytes = malloc(file.size);
    memcpy(bytes, file.bytes, file.size);
    *size = file.size;
    exn_mapping_close(&file);
    free(path);
    return bytes;
}

START_TEST(truncated_anywhere) {
    size_t size;
    uint8_t *bytes = read_data("tests/unit/data/tiny.onnx", &size);
    ck_assert_int_eq(import_bytes(bytes, size), EXN_OK);
    for (size_t length = 0; length < size; length++) {
        uint8_t *part = malloc(length + (length == 0));
        memcpy(part, bytes, length);
        ck_assert_msg(import_bytes(part, length) != EXN_OK, "%zu of %zu bytes are a network", length, size);
        free(part);
    }
    free(bytes);
}
END_TEST

static void flip_bits(const char *relative, uint64_t seed, size_t times) {
    size_t size;
    uint8_t *bytes = read_data(relative, &size);
    uint64_t state = seed;
    for (size_t i = 0; i < times; i++) {
        size_t at[3];
        uint8_t old[3];
        for (size_t k = 0; k < 3; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            at[k] = (size_t)(state >> 33) % size;
            old[k] = bytes[at[k]];
            if (k <= i % 3) bytes[at[k]] ^= (uint8_t)(1u << (state >> 29 & 7u));
        }
        import_bytes(bytes, size);
        for (size_t k = 3; k-- > 0;) bytes[at[k]] = old[k];
    }
    ck_assert_int_eq(import_bytes(bytes, size), EXN_OK);
    free(bytes);
}

START_TEST(flipped_bits) {
    flip_bits("tests/unit/data/tiny.onnx", 1, FLIPS);
}
END_TEST

START_TEST(flipped_bits_of_shape_arithmetic) {
    flip_bits("tests/golden/data/constants.onnx", 2, FLIPS);
    flip_bits("tests/golden/data/squeeze_13.onnx", 3, FLIPS / 4);
    flip_bits("tests/golden/data/split_11.onnx", 4, FLIPS / 4);
}
END_TEST

/* A wrong wire type hands a number where text or a message belongs; nothing of it may be pointed into. */
START_TEST(numbers_in_place_of_messages) {
    static const uint8_t graph_is_a_number[] = {7u << 3, 1}, graph_is_fixed[] = {7u << 3 | 5, 1, 2, 3, 4};
    static const uint8_t name_is_a_number[] = {7u << 3 | 2, 4, 1u << 3 | 2, 2, 3u << 3, 9};
    static const uint8_t two_graphs[] = {7u << 3 | 2, 0, 7u << 3 | 2, 0},
                         endless[] = {7u << 3 | 2, 255, 255, 255, 255, 15};
    ck_assert_int_eq(import_bytes(graph_is_a_number, sizeof graph_is_a_number), EXN_E_FORMAT);
    ck_assert_int_eq(import_bytes(graph_is_fixed, sizeof graph_is_fixed), EXN_E_FORMAT);
    ck_assert_int_eq(import_bytes(name_is_a_number, sizeof name_is_a_number), EXN_E_FORMAT);
    ck_assert_int_eq(import_bytes(two_graphs, sizeof two_graphs), EXN_E_FORMAT);
    ck_assert_int_eq(import_bytes(endless, sizeof endless), EXN_E_FORMAT);
}
END_TEST

/* Every map is within the limit of a tensor; what all need together is within no machine. Saying so takes no time. */
START_TEST(a_small_file_asks_for_much) {
    exn_model *model;
    exn_plan *plan;
    exn_exec *exec;
    char *path = unit_source_path("tests/unit/data/huge.onnx");
    unit_assert_ok(ctx, exn_model_open(&model, ctx, path, NULL));
    ck_assert_uint_lt(model->file.size, 1024);
    const exn_plan_options options = {
        .kernels = &model->kernels, .threads = 1, .outputs = &model->graph->output, .output_count = 1};
    unit_assert_ok(ctx, exn_plan_create(&plan, model->graph, &options));
    ck_assert(exn_plan_arena(plan).bytes > 100000000000u);
    unit_assert_fails(ctx, exn_exec_create(&exec, ctx, plan), EXN_E_NOMEM, "the context's limit is 17179869184");
    exn_plan_destroy(plan);
    exn_model_destroy(model);
    free(path);
}
END_TEST

static exn_status open_and_bind(exn_context *failing, void *user) {
    exn_model *model;
    exn_graph *graph;
    char *text;
    const exn_model_options small = {.struct_size = sizeof small, .height = 6, .width = 5};
    EXN_TRY(exn_model_open(&model, failing, user, &small));
    exn_status status = exn_model_bind(&graph, model, 2, 0, 0);
    if (status == EXN_OK) {
        status = exn_graph_text(&text, graph);
        if (status == EXN_OK) exn_free(failing, text);
        exn_graph_destroy(graph);
    }
    exn_model_destroy(model);
    return status;
}

/* What the embedding program allows is what counts. */
START_TEST(limits_of_the_context) {
#define BLOCKS "tests/golden/data/blocks.onnx"
#define APART "tests/golden/data/layer_norms.onnx" /* few nodes, of which each is a formula of many */
#define PARTS "tests/unit/data/parts.onnx"
    static const struct {
        const char *network;
        size_t side;
        exn_context_options options;
        exn_status status;
        const char *said;
    } cases[] = {
        {BLOCKS, 12, {.file_limit_bytes = 19000}, EXN_E_FORMAT, "the context's limit is 19000"},
        {BLOCKS, 12, {.node_limit = 10}, EXN_E_FORMAT, "limit on nodes"},
        {BLOCKS, 12, {.element_limit = 100}, EXN_E_SHAPE, "more than 100 elements"},
        {BLOCKS, 12, {.block_limit_bytes = 5000}, EXN_E_NOMEM, "the context's limit is 5000"},
        {BLOCKS, 12, {.file_limit_bytes = 20000, .node_limit = 30, .element_limit = 10000}, EXN_OK, ""},
        {APART, 0, {.node_limit = 20}, EXN_E_FORMAT, "comes apart into more operators"},
        {APART, 0, {.node_limit = 100}, EXN_OK, ""},
        {PARTS, 0, {.node_limit = 10}, EXN_E_FORMAT, "more values"},
        {PARTS, 0, {.node_limit = 20}, EXN_OK, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *path = unit_source_path(cases[i].network);
        exn_context_options options = cases[i].options;
        exn_context *limited;
        exn_model *model = NULL;
        options.struct_size = sizeof options;
        ck_assert_int_eq(exn_context_create(&limited, &options), EXN_OK);
        const exn_model_options size = {.struct_size = sizeof size, .height = cases[i].side, .width = cases[i].side};
        const exn_status status = exn_model_open(&model, limited, path, &size);
        ck_assert_msg(status == cases[i].status && strstr(exn_context_error(limited), cases[i].said) != NULL,
                      "case %zu: %s: %s", i, exn_status_name(status), exn_context_error(limited));
        exn_model_destroy(model);
        exn_context_destroy(limited);
        free(path);
    }
}
END_TEST

START_TEST(short_of_memory) {
    char *tiny = unit_source_path("tests/unit/data/tiny.onnx");
    unit_sweep_failures(open_and_bind, tiny);
    free(tiny);
}
END_TEST

static exn_status open_only(exn_context *failing, void *user) {
    exn_model *model;
    EXN_TRY(exn_model_open(&model, failing, user, NULL));
    exn_model_destroy(model);
    return EXN_OK;
}

START_TEST(short_of_memory_elsewhere) {
    static const char *const names[] = {"tests/unit/data/external.onnx",    "tests/golden/data/gemm.onnx",
                                        "tests/golden/data/constants.onnx", "tests/golden/data/gates.onnx",
                                        "tests/golden/data/functions.onnx", "tests/golden/data/layer_norms.onnx",
                                        "tests/golden/data/spread.onnx",    "tests/golden/data/reductions.onnx"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = unit_source_path(names[i]);
        unit_sweep_failures(open_only, path);
        free(path);
    }
}
END_TEST

int main(void) {
    return unit_run_with("import_hostile", set_up, tear_down,
                         (const TTest *[]){truncated_anywhere, flipped_bits, flipped_bits_of_shape_arithmetic,
                                           numbers_in_place_of_messages, a_small_file_asks_for_much,
                                           limits_of_the_context, short_of_memory, short_of_memory_elsewhere, NULL});
}
