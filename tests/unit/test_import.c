/* SPDX-License-Identifier: Apache-2.0
 * What the importer accepts, what it makes of it, and what it says when it refuses (data/make_models.py). */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "graph/dump.h"
#include "graph/model.h"

static exn_context *ctx;

static void set_up(void) {
    ctx = unit_context();
}
static void tear_down(void) {
    exn_context_destroy(ctx);
}

static exn_status open_data(exn_model **out, const char *name, const exn_model_options *options) {
    char relative[128];
    snprintf(relative, sizeof relative, "tests/unit/data/%s.onnx", name);
    char *path = unit_source_path(relative);
    const exn_status status = exn_model_open(out, ctx, path, options);
    free(path);
    return status;
}

static const exn_model_options small = {.struct_size = sizeof small, .height = 6, .width = 5};

START_TEST(tiny_network) {
    exn_model *model;
    exn_model_info info = {.struct_size = sizeof info};
    unit_assert_ok(ctx, open_data(&model, "tiny", &small));
    unit_assert_ok(ctx, exn_model_get_info(&info, model));
    ck_assert_uint_eq(info.channels, 2);
    ck_assert_uint_eq(info.height, 6);
    ck_assert_uint_eq(info.width, 5);
    ck_assert_uint_eq(info.classes, 3);
    ck_assert_uint_eq(info.macs, 30u * 8 * 18 + 30u * 8 * 8 + 3u * 8);
    ck_assert_uint_eq(info.parameters, 8u * 18 + 8 + 16 + 64 + 27);
    ck_assert_uint_eq(info.nodes, 5);
    ck_assert_uint_eq(info.taps, 3);
    ck_assert_str_eq(model->taps[0].name, "r");
    ck_assert_str_eq(model->taps[1].name, "k");
    ck_assert_str_eq(model->taps[2].name, "f");
    ck_assert_uint_eq(model->taps[2].c, 8);
    exn_model_destroy(model);
}
END_TEST

START_TEST(folding_is_visible) {
    exn_model *model;
    char *text;
    unit_assert_ok(ctx, open_data(&model, "tiny", &small));
    unit_assert_ok(ctx, exn_graph_text(&text, model->graph));
    ck_assert_str_eq(text,
                     "input x 1x2x6x5\n"
                     "r 1x8x6x5 = Conv(x, w 8x2x3x3, b 8) kernel 3x3 stride 1x1 pads 1,1,1,1 scaled, clamp 0..inf\n"
                     "k 1x8x6x5 = Conv(r, w2 8x8x1x1, -, r) kernel 1x1 stride 1x1 + residual, clamp 0..6\n"
                     "p 1x8x1x1 = GlobalAveragePool(k)\n"
                     "f 1x8 = Flatten(p)\n"
                     "y 1x3 = Gemm(f, g 3x8, h 3)\n"
                     "output y\n");
    exn_free(ctx, text);
    exn_model_destroy(model);
}
END_TEST

START_TEST(binding) {
    exn_model *model;
    exn_graph *graph, *again;
    char *text, *same;
    unit_assert_ok(ctx, open_data(&model, "tiny", NULL));
    ck_assert_uint_eq(model->height, 224);
    unit_assert_ok(ctx, exn_model_bind(&graph, model, 7, 9, 0));
    ck_assert_uint_eq(graph->values[graph->output].shape.dim[0], 7);
    ck_assert_uint_eq(graph->values[graph->input].shape.dim[2], 9);
    ck_assert_uint_eq(graph->values[graph->input].shape.dim[3], 224);
    unit_assert_ok(ctx, exn_model_bind(&again, model, 7, 9, 0)); /* binding leaves the source as it was */
    unit_assert_ok(ctx, exn_graph_text(&text, graph));
    exn_graph_destroy(graph);
    unit_assert_ok(ctx, exn_graph_text(&same, again));
    ck_assert_str_eq(text, same);
    exn_free(ctx, text);
    exn_free(ctx, same);
    exn_graph_destroy(again);
    unit_assert_fails(ctx, exn_model_bind(&graph, model, 0, 9, 9), EXN_E_INVALID, "batch");
    unit_assert_fails(ctx, exn_model_bind(&graph, model, 1u << 30, 0, 0), EXN_E_SHAPE, "x224x224");
    exn_model_destroy(model);
}
END_TEST

START_TEST(fixed_sizes) {
    exn_model *model;
    exn_graph *graph;
    unit_assert_fails(ctx, open_data(&model, "external", &small), EXN_E_SHAPE, "fixed at 4x4");
    unit_assert_ok(ctx, open_data(&model, "symbolic_reshape", NULL));
    unit_assert_fails(ctx, exn_model_bind(&graph, model, 2, 0, 0), EXN_E_SHAPE, "node 'the_Reshape' (Reshape)");
    exn_model_destroy(model);
    unit_assert_ok(ctx, open_data(&model, "across_batch", NULL));
    unit_assert_fails(ctx, exn_model_bind(&graph, model, 2, 0, 0), EXN_E_UNSUPPORTED, "node 'the_Softmax' (Softmax)");
    exn_model_destroy(model);
    unit_assert_ok(ctx, open_data(&model, "broadcast_batch", NULL)); /* sound for one sample */
    unit_assert_fails(ctx, exn_model_bind(&graph, model, 2, 0, 0), EXN_E_UNSUPPORTED, "samples of 'x' on another axis");
    exn_model_destroy(model);
}
END_TEST

START_TEST(arguments) {
    exn_model *model;
    exn_model_options unset = {0};
    unit_assert_fails(ctx, exn_model_open(&model, ctx, NULL, NULL), EXN_E_INVALID, "path");
    unit_assert_fails(ctx, open_data(&model, "tiny", &unset), EXN_E_INVALID, "struct_size");
    unit_assert_fails(ctx, open_data(&model, "no_such_file", NULL), EXN_E_IO, "no_such_file");
    exn_model_destroy(NULL);
}
END_TEST

START_TEST(external_data) {
    exn_model *model;
    unit_assert_ok(ctx, open_data(&model, "external", NULL));
    const exn_value_id w = exn_graph_find(model->graph, "w");
    ck_assert_float_eq(exn_value_f32(&model->graph->values[w], 0), 4);
    exn_model_destroy(model);
    unit_assert_ok(ctx, open_data(&model, "external_defaults", NULL));
    exn_model_destroy(model);
}
END_TEST

static void copy_data(const char *folder, const char *name) {
    char relative[128];
    snprintf(relative, sizeof relative, "tests/unit/data/%s", name);
    char *from = unit_source_path(relative), *to = unit_path(folder, name);
    exn_mapping file;
    unit_assert_ok(ctx, exn_mapping_open(&file, ctx, from));
    unit_write_file(to, file.bytes, file.size);
    exn_mapping_close(&file);
    free(from);
    free(to);
}

/* A profile knows its network by this hash, so weights in another file must move it. */
START_TEST(external_weights_are_part_of_the_hash) {
    exn_model *model;
    char hash[2][EXN_HASH_TEXT_BYTES];
    char *folder = unit_temp_create(), *path = unit_path(folder, "external.onnx"),
         *weights = unit_path(folder, "weights.bin");
    copy_data(folder, "external.onnx");
    copy_data(folder, "weights.bin");
    const float others[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t i = 0; i < 2; i++) {
        unit_assert_ok(ctx, exn_model_open(&model, ctx, path, NULL));
        exn_model_hash(hash[i], model);
        exn_model_destroy(model);
        unit_write_file(weights, others, sizeof others);
    }
    ck_assert_str_ne(hash[0], hash[1]);
    free(weights);
    free(path);
    unit_temp_remove(folder);
}
END_TEST

/* A value without a name gets another one when a file turns out to use it. */
START_TEST(made_up_names_make_way) {
    exn_graph *graph;
    exn_value_id made, given;
    char name[64];
    const exn_shape shape = {1, {1}};
    unit_assert_ok(ctx, exn_graph_create(&graph, ctx));
    for (size_t i = 0; i < 100; i++) {
        unit_assert_ok(ctx, exn_graph_value(&made, graph, NULL, EXN_F32, &shape));
        snprintf(name, sizeof name, "%s", graph->values[made].name);
        unit_assert_ok(ctx, exn_graph_value(&given, graph, name, EXN_F32, &shape));
        ck_assert_uint_eq(exn_graph_find(graph, name), given);
        ck_assert_uint_eq(exn_graph_find(graph, graph->values[made].name), made);
        ck_assert_int_eq(exn_graph_value(&made, graph, name, EXN_F32, &shape), EXN_E_INVALID);
    }
    exn_graph_destroy(graph);
}
END_TEST

/* A file that uses all names that might be made up costs no more time than one with as many others. */
START_TEST(names_in_the_way_are_passed_once) {
    enum { NAMES = 40000 };
    exn_graph *graph;
    exn_value_id id;
    char name[64];
    const exn_shape shape = {1, {1}};
    unit_assert_ok(ctx, exn_graph_create(&graph, ctx));
    for (size_t i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "exn.value_%zu", NAMES + i);
        unit_assert_ok(ctx, exn_graph_value(&id, graph, name, EXN_F32, &shape));
    }
    const double start = exn_now();
    for (size_t i = 0; i < NAMES; i++) unit_assert_ok(ctx, exn_graph_value(&id, graph, NULL, EXN_F32, &shape));
    ck_assert_double_lt(exn_now() - start, 10);
    exn_graph_destroy(graph);
}
END_TEST

/* MaxPool, Relu, global pool, Gemm: the exit reads what the Relu makes, not what the MaxPool makes. */
START_TEST(taps_wait_for_the_activation) {
    exn_graph *graph;
    exn_value_id weight, x, after, gemm[2];
    exn_tap *taps;
    size_t count;
    const exn_shape image = {4, {1, 8, 8, 8}}, half = {4, {1, 8, 4, 4}}, point = {4, {1, 8, 1, 1}};
    const exn_shape flat = {2, {1, 8}}, logits = {2, {1, 3}}, matrix = {2, {8, 3}};
    const float weights[24] = {0};
    exn_attrs relu = exn_attrs_default();
    relu.activation = EXN_ACT_CLAMP;
    unit_assert_ok(ctx, exn_graph_create(&graph, ctx));
    unit_assert_ok(ctx, exn_graph_value(&graph->input, graph, "x", EXN_F32, &image));
    for (size_t i = 0; i < 4; i++) /* value numbers shall not be node numbers */
        unit_assert_ok(ctx, exn_graph_constant(&weight, graph, NULL, EXN_F32, &matrix, weights, true));
    unit_assert_ok(ctx, exn_graph_node(&x, graph, EXN_OP_MaxPool, NULL, &graph->input, 1, NULL, &half));
    unit_assert_ok(ctx, exn_graph_value(&after, graph, "after", EXN_F32, &half));
    unit_assert_ok(ctx, exn_graph_append(graph, EXN_OP_Relu, NULL, &x, 1, &after, 1, &relu));
    unit_assert_ok(ctx, exn_graph_node(&x, graph, EXN_OP_GlobalAveragePool, NULL, &after, 1, NULL, &point));
    unit_assert_ok(ctx, exn_graph_value(&gemm[0], graph, "flat", EXN_F32, &flat));
    unit_assert_ok(ctx, exn_graph_append(graph, EXN_OP_Flatten, NULL, &x, 1, &gemm[0], 1, NULL));
    gemm[1] = weight;
    unit_assert_ok(ctx, exn_graph_node(&graph->output, graph, EXN_OP_Gemm, NULL, gemm, 2, NULL, &logits));
    unit_assert_ok(ctx, exn_taps_find(&taps, &count, graph));
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(taps[0].value, after);
    ck_assert_uint_eq(taps[1].value, gemm[0]);
    exn_free(ctx, taps);
    exn_graph_destroy(graph);
}
END_TEST

/* The same model in another folder, its weights a link to the ones here. */
START_TEST(external_data_through_a_link) {
    exn_model *model;
    char *folder = unit_temp_create(), *path = unit_path(folder, "model.onnx"),
         *link = unit_path(folder, "weights.bin");
    char *original = unit_source_path("tests/unit/data/external.onnx");
    char *weights = unit_source_path("tests/unit/data/weights.bin");
    exn_mapping file;
    unit_assert_ok(ctx, exn_mapping_open(&file, ctx, original));
    unit_write_file(path, file.bytes, file.size);
    exn_mapping_close(&file);
    ck_assert_int_eq(symlink(weights, link), 0);
    unit_assert_fails(ctx, exn_model_open(&model, ctx, path, NULL), EXN_E_FORMAT, "symbolic link");
    free(weights);
    free(original);
    free(link);
    free(path);
    unit_temp_remove(folder);
}
END_TEST

typedef struct refusal {
    const char *name;
    exn_status status;
    const char *part;
} refusal;

static const refusal refusals[] = {
    {"bad_operator", EXN_E_UNSUPPORTED,
     "node 'the_Einsum' (Einsum): this operator is not supported; supported are Conv"},
    {"bad_domain", EXN_E_UNSUPPORTED, "com.example"},
    {"bad_attribute", EXN_E_UNSUPPORTED, "node 'the_Conv' (Conv): attribute 'colour'"},
    {"bad_attribute_value", EXN_E_FORMAT, "'group'"},
    {"bad_kernel", EXN_E_SHAPE, "kernel 2x2"},
    {"bad_kernel_rank", EXN_E_UNSUPPORTED, "'kernel_shape'"},
    {"bad_stride", EXN_E_UNSUPPORTED, "'strides'"},
    {"bad_huge_stride", EXN_E_FORMAT, "'strides'"},
    {"bad_pads", EXN_E_UNSUPPORTED, "'pads'"},
    {"bad_huge_pads", EXN_E_FORMAT, "'pads'"},
    {"bad_dilation", EXN_E_SHAPE, "a window of 131071"},
    {"bad_groups", EXN_E_SHAPE, "3 groups"},
    {"bad_bias", EXN_E_SHAPE, "'b'"},
    {"bad_arity", EXN_E_FORMAT, "1 inputs given, 2 to 3 wanted"},
    {"bad_window", EXN_E_SHAPE, "a window of 5 over an image of 4"},
    {"bad_pool_pads", EXN_E_SHAPE, "outside the image"},
    {"bad_pool_kernel", EXN_E_FORMAT, "'kernel_shape' is missing"},
    {"bad_cycle", EXN_E_FORMAT, "it reads 'b', which nothing before it makes"},
    {"bad_undefined", EXN_E_FORMAT, "'ghost'"},
    {"bad_duplicate", EXN_E_FORMAT, "the name 'y' is given to two values"},
    {"bad_duplicate_constant", EXN_E_FORMAT, "the name 'w' is given to two values"},
    {"bad_output", EXN_E_FORMAT, "no node makes the output 'y'"},
    {"bad_output_is_input", EXN_E_UNSUPPORTED, "not computed from the input"},
    {"bad_output_is_constant", EXN_E_UNSUPPORTED, "not computed from the input"},
    {"bad_two_outputs", EXN_E_UNSUPPORTED, "2 outputs"},
    {"bad_two_inputs", EXN_E_UNSUPPORTED, "a second input 'z'"},
    {"bad_no_input", EXN_E_FORMAT, "no input"},
    {"bad_input_rank", EXN_E_UNSUPPORTED, "input 'x'"},
    {"bad_input_type", EXN_E_UNSUPPORTED, "input 'x'"},
    {"bad_input_zero", EXN_E_FORMAT, "dimension 1 is 0"},
    {"bad_input_channels", EXN_E_UNSUPPORTED, "channels"},
    {"bad_input_huge", EXN_E_SHAPE, "elements"},
    {"bad_opset_old", EXN_E_UNSUPPORTED, "operator set version 8"},
    {"bad_opset_new", EXN_E_UNSUPPORTED, "operator set version 99"},
    {"bad_ir", EXN_E_UNSUPPORTED, "IR version 99"},
    {"bad_nan", EXN_E_FORMAT, "tensor 'w': element 0 is not finite"},
    {"bad_infinite", EXN_E_FORMAT, "tensor 'w': element 0 is not finite"},
    {"bad_half", EXN_E_UNSUPPORTED, "tensor 'w': data type 10"},
    {"bad_size", EXN_E_FORMAT, "216 bytes, 215 are there"},
    {"bad_typed_size", EXN_E_FORMAT, "54 elements"},
    {"bad_mixed", EXN_E_FORMAT, "two types"},
    {"bad_overflow", EXN_E_SHAPE, "tensor 'w'"},
    {"bad_negative", EXN_E_FORMAT, "tensor 'w': dimension 0"},
    {"bad_rank", EXN_E_FORMAT, "too many dimensions"},
    {"bad_computed_weights", EXN_E_UNSUPPORTED, "weights are computed"},
    {"bad_gemm", EXN_E_SHAPE, "rows of 32 against columns of 31"},
    {"bad_sum", EXN_E_SHAPE, "cannot be broadcast"},
    {"bad_broadcast", EXN_E_SHAPE, "cannot be broadcast"},
    {"bad_reshape", EXN_E_SHAPE, "32 elements, the target shape 33"},
    {"bad_reshape_twice", EXN_E_SHAPE, "target dimension 1 is -1"},
    {"bad_reshape_computed", EXN_E_UNSUPPORTED, "int64"},
    {"bad_axis", EXN_E_SHAPE, "axis 4"},
    {"bad_order", EXN_E_FORMAT, "not a permutation"},
    {"bad_split", EXN_E_SHAPE, "do not add up to 2"},
    {"bad_slice_step", EXN_E_FORMAT, "a step of 0"},
    {"bad_slice_empty", EXN_E_SHAPE, "empty"},
    {"bad_pad_mode", EXN_E_UNSUPPORTED, "'mode'"},
    {"bad_pad_negative", EXN_E_UNSUPPORTED, "-1"},
    {"bad_pad_huge", EXN_E_SHAPE, "elements"},
    {"bad_variance", EXN_E_FORMAT, "variance 0"},
    {"bad_training", EXN_E_UNSUPPORTED, "'training_mode'"},
    {"bad_mask", EXN_E_UNSUPPORTED, "it reads 'm'"},
    {"bad_gather", EXN_E_SHAPE, "index 2 of 2"},
    {"bad_divide", EXN_E_FORMAT, "division by zero"},
    {"bad_no_rows", EXN_E_SHAPE, "no row for each sample"},
    {"bad_name", EXN_E_FORMAT, "2000 bytes"},
    {"bad_control", EXN_E_FORMAT, "control characters"},
    {"bad_if", EXN_E_UNSUPPORTED, "node 'if' (If)"},
    {"bad_external_parent", EXN_E_FORMAT, "outside the model's folder"},
    {"bad_external_absolute", EXN_E_FORMAT, "outside the model's folder"},
    {"bad_external_nameless", EXN_E_FORMAT, "outside the model's folder"},
    {"bad_external_missing", EXN_E_IO, "nowhere.bin"},
    {"bad_external_short", EXN_E_FORMAT, "16 bytes wanted at 20, the file has 32"},
    {"bad_external_overflow", EXN_E_FORMAT, "the file has 32"},
    {"bad_external_number", EXN_E_FORMAT, "not a number"},
    {"bad_external_length", EXN_E_FORMAT, "weights.bin"},
};

START_TEST(refused) {
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        exn_model *model = NULL;
        const refusal *r = &refusals[i];
        const exn_status status = open_data(&model, r->name, NULL);
        ck_assert_msg(status == r->status && strstr(exn_context_error(ctx), r->part) != NULL, "%s: %s: %s", r->name,
                      exn_status_name(status), exn_context_error(ctx));
        ck_assert_msg(strstr(exn_context_error(ctx), r->name) != NULL, "no file in %s", exn_context_error(ctx));
        ck_assert_ptr_null(model);
    }
}
END_TEST

typedef struct known {
    const char *name;
    size_t classes, nodes, taps;
    uint64_t macs, parameters;
} known;

/* Networks beside the tree: skipped where they are absent. */
START_TEST(real_networks) {
    static const known networks[] = {
        {"efficientnet_lite0", 1000, 52, 32, 385187552, 4631000}, {"grocery_lite0", 81, 51, 32, 384011232, 3453761},
        {"mobilenet_v2", 1001, 55, 33, 300775552, 3489097},       {"resnet20_cifar10", 10, 27, 11, 40551040, 269034},
        {"resnet56_cifar10", 10, 63, 29, 125485696, 850986},      {"squeezenet1_1", 1000, 39, 20, 387747520, 1235496},
        {"wardrobe_lite0", 17, 51, 32, 383929312, 3371777},
    };
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        const known *n = &networks[i];
        char relative[128];
        snprintf(relative, sizeof relative, "../shared/data/models/%s.onnx", n->name);
        char *path = unit_source_path(relative);
        if (access(path, R_OK) == 0) {
            exn_model *model;
            exn_graph *graph;
            unit_assert_ok(ctx, exn_model_open(&model, ctx, path, NULL));
            ck_assert_msg(model->classes == n->classes && model->graph->node_count == n->nodes &&
                              model->tap_count == n->taps && model->macs == n->macs &&
                              model->parameters == n->parameters,
                          "%s: %zu classes, %zu nodes, %zu taps, %llu macs, %llu parameters", n->name, model->classes,
                          model->graph->node_count, model->tap_count, (unsigned long long)model->macs,
                          (unsigned long long)model->parameters);
            unit_assert_ok(ctx, exn_model_bind(&graph, model, 3, 0, 0));
            ck_assert_uint_eq(graph->values[graph->output].shape.dim[0], 3);
            exn_graph_destroy(graph);
            exn_model_destroy(model);
        }
        free(path);
    }
}
END_TEST

static exn_tap tap_at(double fraction) {
    return (exn_tap){.c = 16, .macs_fraction = fraction};
}

START_TEST(placement) {
    const exn_tap taps[] = {tap_at(0.05), tap_at(0.14), tap_at(0.2),  tap_at(0.21), tap_at(0.5),
                            tap_at(0.6),  tap_at(0.88), tap_at(0.95), tap_at(1)};
    const size_t count = sizeof taps / sizeof taps[0];
    size_t picked[16], picked_count;
    unit_assert_ok(ctx, exn_taps_place(picked, &picked_count, 3, taps, count, NULL, ctx));
    ck_assert_uint_eq(picked_count, 3);
    ck_assert_uint_eq(picked[0], 2);
    ck_assert_uint_eq(picked[1], 4);
    ck_assert_uint_eq(picked[2], 6);
    unit_assert_ok(ctx, exn_taps_place(picked, &picked_count, 1, taps, count, NULL, ctx));
    ck_assert_uint_eq(picked_count, 1);
    ck_assert_uint_eq(picked[0], 4);
    unit_assert_ok(ctx, exn_taps_place(picked, &picked_count, 16, taps, count, NULL, ctx));
    ck_assert_uint_eq(picked_count, 5); /* all within 15 to 92 percent */
    static const double measured[] = {0.3, 0.31, NAN, 0.4, 0.41, 0.7, 0.8, 0.9, 1};
    unit_assert_ok(ctx, exn_taps_place(picked, &picked_count, 2, taps, count, measured, ctx));
    ck_assert(picked_count == 2 && picked[0] == 0 && picked[1] == 7);
    unit_assert_ok(ctx, exn_taps_place(picked, &picked_count, 4, taps, 0, NULL, ctx));
    ck_assert_uint_eq(picked_count, 0);
}
END_TEST

int main(void) {
    return unit_run_with("import", set_up, tear_down,
                         (const TTest *[]){tiny_network, folding_is_visible, binding, fixed_sizes, arguments,
                                           external_data, external_weights_are_part_of_the_hash,
                                           taps_wait_for_the_activation, made_up_names_make_way,
                                           names_in_the_way_are_passed_once, external_data_through_a_link, refused,
                                           real_networks, placement, NULL});
}
