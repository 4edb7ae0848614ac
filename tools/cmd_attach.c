/* SPDX-License-Identifier: Apache-2.0
 * exeunt attach: a profile for a network, with fresh exits or exits pretrained on general data. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/engine.h"
#include "tools/placement.h"
#include "tools/pretrain.h"
#include "tools/report.h"

/* --size, --mean, --std, --order; by default grey or RGB as the network has channels. */
static exn_status read_preprocess(exn_preprocess *out, exn_tool *tool, const exn_model *model) {
    static const char *const orders[] = {"rgb", "bgr", "gray", NULL};
    size_t order = model->channels == 1 ? EXN_ORDER_GRAY : EXN_ORDER_RGB;
    for (size_t c = 0; c < 3; c++) out->deviation[c] = 255.0f;
    if (!exn_args_count(&out->size, tool->args, "size", 1, 8192) ||
        !exn_args_triple(out->mean, tool->args, "mean", -1000.0, 1000.0) ||
        !exn_args_triple(out->deviation, tool->args, "std", 1e-6, 1e6) ||
        !exn_args_choice(&order, tool->args, "order", orders))
        return EXN_E_INVALID;
    if ((order == EXN_ORDER_GRAY) != (model->channels == 1))
        return exn_tool_usage(tool, "--order %s does not fit a network with %zu channels", orders[order],
                              model->channels);
    out->order = (exn_channel_order)order;
    return EXN_OK;
}

/* Exits stand where this device's milliseconds say, unless the costs are to be counted. */
static exn_status create(exn_profile **out, exn_tool *tool, const exn_model *model, bool pretrain) {
    const char *costs = exn_args_text(tool->args, "costs");
    exn_profile_options options = {.struct_size = sizeof options, .measured = costs == NULL};
    EXN_TRY(read_preprocess(&options.preprocess, tool, model));
    size_t seed = 1;
    if (!exn_args_count(&seed, tool->args, "seed", 1, SIZE_MAX)) return EXN_E_INVALID;
    options.seed = seed;
    exn_placement placement = {0};
    EXN_TRY(exn_placement_read(&placement, &options, tool));
    if (pretrain && options.head == EXN_HEAD_AUTO) options.head = EXN_HEAD_CONV; /* what is tried starts as that */
    char **classes = NULL;
    size_t count = 0;
    const char *file = exn_args_text(tool->args, "classes");
    exn_status status = EXN_OK;
    if (file != NULL) status = exn_lines_read(&classes, &count, tool->ctx, file, 65536);
    if (status == EXN_OK && file != NULL && count != model->classes)
        status = exn_fail(tool->ctx, EXN_E_INVALID, "%s: %zu class names for a network with %zu logits", file, count,
                          model->classes);
    if (status == EXN_OK) {
        options.classes = (const char *const *)classes;
        options.class_count = count;
        status = exn_profile_create(out, model, &options);
    }
    if (classes != NULL) exn_lines_free(tool->ctx, classes, count);
    exn_placement_free(&placement);
    return status;
}

static json_t *exit_report(const exn_exit_info *info, const exn_exit *e, size_t index) {
    json_t *object = json_object();
    exn_report_count(object, "index", index);
    exn_report_text(object, "tap", info->tap);
    exn_report_text(object, "head", exn_head_kind_names[info->kind]);
    exn_report_real(object, "macs_fraction", info->macs_fraction);
    exn_report_count(object, "head_macs", e->head.kind == EXN_HEAD_CLASSIFIER ? 0 : exn_head_macs(&e->head));
    exn_report_flag(object, "pretrained", e->general.kind != EXN_HEAD_AUTO);
    exn_report_real(object, "accuracy", e->general_accuracy);
    exn_report_real(object, "nll", e->general_nll);
    exn_report_real(object, "temperature", (double)e->general_temperature);
    return object;
}

/* Figures of general photos that the exit had not seen; "-" where it has learned none. */
static void print_exit(const exn_exit_info *info, const exn_exit *e, size_t index) {
    char right[16] = "-", temperature[16] = "-";
    if (!isnan(e->general_accuracy)) {
        snprintf(right, sizeof right, "%.1f %%", 100.0 * e->general_accuracy);
        snprintf(temperature, sizeof temperature, "%.2f", (double)e->general_temperature);
    }
    printf("%4zu %7.1f %%  %-10s %9s %11s  %s\n", index, 100.0 * info->macs_fraction, exn_head_kind_names[info->kind],
           right, temperature, info->tap);
}

static json_t *pretrained_report(const exn_pretrained *p) {
    json_t *object = json_object(), *seconds = json_object();
    exn_report_count(object, "photos", p->photos);
    exn_report_count(object, "persons", p->persons);
    exn_report_count(object, "skipped", p->skipped);
    exn_report_count(object, "cache_bytes", p->cache_bytes);
    exn_report_real(seconds, "extract", p->extract_s);
    exn_report_real(seconds, "train", p->train_s);
    json_object_set_new(object, "seconds", seconds);
    return object;
}

static exn_status print_result(exn_tool *tool, const exn_profile *profile, const char *path,
                               const exn_pretrained *pretrained) {
    json_t *report = exn_report_create("attach"), *exits = json_array();
    if (pretrained != NULL && !tool->json)
        printf("%zu photos, %zu left out; extracted in %.1f s (%.0f MB), trained in %.1f s\n", pretrained->photos,
               pretrained->skipped, pretrained->extract_s, (double)pretrained->cache_bytes / 1e6, pretrained->train_s);
    if (!tool->json) printf("exit      MACs  %-10s %9s %11s  %s\n", "head", "right", "temperature", "tap");
    for (size_t i = 0; i < exn_profile_exit_count(profile); i++) {
        exn_exit_info info = {.struct_size = sizeof info};
        EXN_TRY(exn_profile_get_exit(&info, profile, i));
        json_array_append_new(exits, exit_report(&info, &profile->exits[i], i));
        if (!tool->json) print_exit(&info, &profile->exits[i], i);
    }
    exn_report_text(report, "profile", path);
    exn_report_count(report, "classes", exn_profile_class_count(profile));
    json_object_set_new(report, "exits", exits);
    if (pretrained != NULL) json_object_set_new(report, "pretrained", pretrained_report(pretrained));
    exn_report_real(report, "peak_rss_mb", exn_report_peak_rss_mb());
    if (tool->json) return exn_report_print(report, tool, false);
    printf("wrote %s\n", path);
    json_decref(report);
    return EXN_OK;
}

static exn_status run(exn_tool *tool) {
    const char *path = exn_args_text(tool->args, "output");
    if (path == NULL) return exn_tool_usage(tool, "attach needs -o PROFILE");
    bool pretrain = false;
    EXN_TRY(exn_pretrain_wanted(&pretrain, tool));
    exn_model *model = NULL;
    exn_profile *profile = NULL;
    exn_pretrained pretrained;
    EXN_TRY(exn_model_open(&model, tool->ctx, tool->args->operands[0], NULL));
    exn_status status = create(&profile, tool, model, pretrain);
    if (status == EXN_OK && pretrain) status = exn_pretrain_profile(&pretrained, tool, profile, path);
    if (status == EXN_OK) status = exn_profile_save(profile, path);
    if (status == EXN_OK && pretrain) status = exn_pretrain_forget(tool, path);
    if (status == EXN_OK) status = print_result(tool, profile, path, pretrain ? &pretrained : NULL);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    return status;
}

static const exn_option options[] = {
    {"output", "PROFILE", "the profile to write (needed)", 'o'},
    EXN_PLACEMENT_OPTIONS,
    {"classes", "FILE", "class names, one a line in the order of the logits (default 0, 1, ...)", 0},
    {"size", "S", "shorter side of a photo after resizing (default: the larger side of the network's input)", 0},
    {"mean", "M", "subtracted from grey levels 0..255: one number or R,G,B (default 0)", 0},
    {"std", "D", "then divided by: one number or R,G,B (default 255)", 0},
    {"order", "ORDER", "rgb, bgr or gray (default: rgb, gray for one channel)", 0},
    {"seed", "N", "what everything random follows from (default 1)", 0},
    {"costs", "FILE|macs", "cost of exits instead of measured milliseconds: the profile becomes reproducible", 0},
    EXN_PRETRAIN_OPTIONS,
    EXN_COMMON_OPTIONS};

const exn_command exn_command_attach = {
    .name = "attach",
    .operands = "MODEL",
    .brief = "make a profile: exits on a network, fresh or pretrained",
    .help =
        "Writes a profile with fresh early exits for an ONNX network. They are not used before they are personalised,\n"
        "so the profile answers as the network does. The profile also keeps how photos become the network's input:\n"
        "resized by --size, cropped at the centre, (grey level - mean) / std, channels in --order.\n\n"
        "With --pretrain the exits learn general data first, as a network's maker does once for everybody: every photo "
        "and\n"
        "--views altered copies of it pass the frozen network, heads learn from labels and from the network's own "
        "answers, and\n"
        "are judged by photos they have not seen. Personalising starts from these heads. Ctrl-C pauses (exit status "
        "3).\n\n"
        "Example: exeunt attach efficientnet_lite0.onnx -o me.safetensors --mean 127 --std 128",
    .least = 1,
    .most = 1,
    .options = options,
    .run = run};
