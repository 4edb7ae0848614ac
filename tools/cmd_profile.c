/* SPDX-License-Identifier: Apache-2.0
 * exeunt profile: what is in a profile, and heads that something else trained put into one. */
#include <stdio.h>
#include <string.h>

#include "tools/engine.h"
#include "tools/report.h"

static json_t *tensor_report(const exn_head *head) {
    json_t *object = json_object();
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        if (!exn_head_tensor_shape(&shape, head, (exn_head_tensor)which)) continue;
        json_t *dims = json_array();
        for (size_t i = 0; i < shape.rank; i++) json_array_append_new(dims, json_integer((json_int_t)shape.dim[i]));
        json_object_set_new(object, exn_head_tensor_name((exn_head_tensor)which), dims);
    }
    return object;
}

static json_t *exit_report(const exn_exit *e, size_t index) {
    json_t *object = json_object(), *shape = json_array();
    const size_t dims[] = {e->head.c, e->head.h, e->head.w};
    for (size_t i = 0; i < 3; i++) json_array_append_new(shape, json_integer((json_int_t)dims[i]));
    exn_report_count(object, "index", index);
    exn_report_text(object, "tap", e->tap);
    json_object_set_new(object, "tap_shape", shape);
    exn_report_text(object, "kind", exn_head_kind_names[e->head.kind]);
    exn_report_flag(object, "trained", e->trained);
    exn_report_flag(object, "pretrained", e->general.kind != EXN_HEAD_AUTO);
    exn_report_flag(object, "enabled", e->rule.enabled);
    exn_report_real(object, "threshold", (double)e->rule.threshold);
    exn_report_real(object, "temperature", (double)e->rule.temperature);
    exn_report_real(object, "accuracy", e->accuracy);
    exn_report_text(object, "decision", e->decision);
    json_object_set_new(object, "tensors", tensor_report(&e->head));
    return object;
}

static void print_exit(const exn_exit *e, size_t index) {
    printf("exit %zu  %s head at %s, %zux%zux%zu: %s\n", index, exn_head_kind_names[e->head.kind], e->tap, e->head.c,
           e->head.h, e->head.w, e->decision);
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        char text[EXN_SHAPE_TEXT_BYTES];
        if (!exn_head_tensor_shape(&shape, &e->head, (exn_head_tensor)which)) continue;
        printf("        exits.%zu.%-14s %s\n", index, exn_head_tensor_name((exn_head_tensor)which),
               exn_shape_text(text, &shape));
    }
}

static exn_status show(exn_tool *tool, const exn_profile *profile, const char *path) {
    json_t *report = exn_report_create("profile"), *exits = json_array();
    for (size_t e = 0; e < profile->exit_count; e++) {
        json_array_append_new(exits, exit_report(&profile->exits[e], e));
        if (!tool->json) print_exit(&profile->exits[e], e);
    }
    exn_report_text(report, "profile", path);
    exn_report_count(report, "classes", profile->class_count);
    exn_report_count(report, "labelled", profile->labelled);
    exn_report_count(report, "unlabelled", profile->unlabelled);
    json_object_set_new(report, "exits", exits);
    if (tool->json) return exn_report_print(report, tool, false);
    json_decref(report);
    return EXN_OK;
}

/* All files, then the profile is written: nothing changes where one of them is refused. */
static exn_status import(exn_tool *tool, exn_profile *profile, const char *path) {
    for (size_t i = 2; i < tool->args->operand_count; i++)
        EXN_TRY(exn_profile_import(profile, tool->args->operands[i], NULL));
    return exn_profile_save(profile, path);
}

static exn_status run(exn_tool *tool) {
    const char *action = tool->args->operands[0], *path = tool->args->operands[1];
    const char *output = exn_args_text(tool->args, "output");
    const bool importing = strcmp(action, "import") == 0;
    if (!importing && strcmp(action, "show") != 0)
        return exn_tool_usage(tool, "profile takes show or import, not '%.60s'", action);
    if (importing != (tool->args->operand_count > 2))
        return exn_tool_usage(tool,
                              importing ? "profile import needs a file with heads" : "profile show takes one file");
    if (!importing && output) return exn_tool_usage(tool, "--output needs import");
    exn_person person = {0};
    if (!output) output = path;
    exn_status status = exn_person_open(&person, tool, path, NULL);
    if (status == EXN_OK && importing) status = import(tool, person.profile, output);
    if (status == EXN_OK) status = show(tool, person.profile, output);
    exn_person_close(&person);
    return status;
}

static const exn_option options[] = {
    {"output", "PROFILE", "with import: write here (default: replace the profile)", 'o'}, EXN_COMMON_OPTIONS};

const exn_command exn_command_profile = {
    .name = "profile",
    .operands = "show|import PROFILE [HEADS.safetensors...]",
    .brief = "what is in a profile; heads trained elsewhere put into it",
    .help =
        "show prints each exit's tap, kind, tensors and what was decided. import takes heads that PyTorch, say, "
        "trained,\n"
        "from tensors named as show prints them (general.0.fc.weight for the head that personalising starts from), "
        "and\n"
        "from metadata exits.0.tap, .kind, .temperature, .threshold. Shapes, numbers and taps are checked; nothing\n"
        "changes where something is wrong. An imported head has no evidence, so early exits are not used until the\n"
        "profile is personalised, but for those whose threshold the file states.\n\n"
        "Example: exeunt profile import me.safetensors heads.safetensors",
    .least = 2,
    .most = 64,
    .options = options,
    .run = run};
