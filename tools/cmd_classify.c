/* SPDX-License-Identifier: Apache-2.0
 * exeunt classify: labels for photos. */
#include <stdio.h>

#include "tools/engine.h"
#include "tools/report.h"

static exn_status classify(exn_tool *tool, exn_runner *runner, const exn_profile *profile, const char *path) {
    exn_picture picture = {0};
    const double begin = exn_now();
    EXN_TRY(exn_picture_load(&picture, tool->ctx, path));
    const double decode_ms = (exn_now() - begin) * 1e3;
    const exn_image image = exn_picture_view(&picture);
    exn_answer answer = {.struct_size = sizeof answer};
    const exn_status status = exn_runner_classify(runner, &image, &answer);
    exn_picture_free(&picture, tool->ctx);
    if (status != EXN_OK) return exn_fail(tool->ctx, status, "%s: %s", path, exn_runner_error(runner));
    const char *label = exn_profile_class_name(profile, answer.label);
    if (!tool->json) {
        printf("%s: %s %.3f (exit %zu, %.2f ms)\n", path, label, (double)answer.confidence, answer.exit,
               answer.infer_ms);
        return EXN_OK;
    }
    json_t *report = exn_report_create("classify");
    exn_report_text(report, "file", path);
    exn_report_text(report, "label", label);
    exn_report_count(report, "index", answer.label);
    exn_report_real(report, "confidence", (double)answer.confidence);
    exn_report_count(report, "exit", answer.exit);
    exn_report_real(report, "infer_ms", answer.infer_ms);
    exn_report_real(report, "decode_ms", decode_ms);
    return exn_report_print(report, tool, true);
}

static exn_status run(exn_tool *tool) {
    exn_person person = {0};
    EXN_TRY(exn_person_open(&person, tool, tool->args->operands[0], NULL));
    exn_runner *runner = NULL;
    exn_status status = exn_person_turn(&person, tool);
    if (status == EXN_OK) status = exn_runner_create(&runner, person.profile, NULL);
    for (size_t i = 1; i < tool->args->operand_count && status == EXN_OK; i++)
        status = classify(tool, runner, person.profile, tool->args->operands[i]);
    exn_runner_destroy(runner);
    exn_person_close(&person);
    return status;
}

static const exn_option options[] = {EXN_TARGET_OPTION, EXN_COMMON_OPTIONS};

const exn_command exn_command_classify = {
    .name = "classify",
    .operands = "PROFILE FILE...",
    .brief = "label photos, leaving at the first exit that is sure",
    .help =
        "Prints label, confidence, exit taken and milliseconds for every JPEG or PNG file; with --json one object a\n"
        "line.\n\nExample: exeunt classify me.safetensors holiday.jpg",
    .least = 2,
    .most = SIZE_MAX,
    .options = options,
    .run = run};
