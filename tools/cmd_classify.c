/* SPDX-License-Identifier: Apache-2.0
 * exeunt classify: labels for photos. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/engine.h"
#include "tools/report.h"

static exn_status classify(exn_tool *tool, exn_runner *runner, const exn_profile *profile, const char *path) {
    exn_picture picture = {0};
    const double begin = exn_now();
    EXN_TRY(exn_picture_load(&picture, tool->ctx, path, profile->preprocess.size));
    const double decode_ms = (exn_now() - begin) * 1e3;
    const exn_image image = exn_picture_view(&picture);
    exn_answer answer = {.struct_size = sizeof answer};
    const exn_status status = exn_runner_classify(runner, &image, &answer);
    exn_picture_free(&picture, tool->ctx);
    if (status != EXN_OK) return exn_fail(tool->ctx, status, "%s: %s", path, exn_runner_error(runner));
    exn_watch watch = {.struct_size = sizeof watch};
    const exn_status audited = exn_runner_audit(runner, &watch); /* does nothing where no audit is due */
    if (audited != EXN_OK) return exn_fail(tool->ctx, audited, "%s: audit: %s", path, exn_runner_error(runner));
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
    exn_report_flag(report, "audited", answer.audit_due);
    exn_report_count(report, "rung", watch.rung);
    return exn_report_print(report, tool, true);
}

/* "PROFILE.packed", unless --packed names another file, or none. */
static const char *packed_path(char beside[PATH_MAX], const exn_tool *tool) {
    const char *wish = exn_args_text(tool->args, "packed");
    if (wish != NULL) return strcmp(wish, "none") == 0 ? NULL : wish;
    const int length = snprintf(beside, PATH_MAX, "%s.packed", tool->args->operands[0]);
    return length < PATH_MAX ? beside : NULL;
}

/* Where there is a watch from earlier runs, it goes on. */
static exn_status open_runner(exn_runner **out, exn_tool *tool, const exn_profile *profile, const char *watch) {
    char beside[PATH_MAX];
    exn_runner_options options = {.struct_size = sizeof options, .packed = packed_path(beside, tool)};
    exn_runner *runner;
    if (!exn_args_number(&options.audit_share, tool->args, "audit", 0.0, 1.0)) return EXN_E_INVALID;
    EXN_TRY(exn_runner_create(&runner, profile, &options));
    const bool known = options.audit_share > 0 && access(watch, F_OK) == 0;
    const exn_status status = known ? exn_runner_load_watch(runner, watch) : EXN_OK;
    if (status == EXN_OK)
        *out = runner;
    else
        exn_runner_destroy(runner);
    return status;
}

static exn_status classify_all(exn_tool *tool, const exn_profile *profile) {
    char watch[PATH_MAX];
    exn_runner *runner;
    const int length = snprintf(watch, sizeof watch, "%s.watch", tool->args->operands[0]);
    if (length < 0 || (size_t)length >= sizeof watch)
        return exn_fail(tool->ctx, EXN_E_INVALID, "%s: name too long", tool->args->operands[0]);
    EXN_TRY(open_runner(&runner, tool, profile, watch));
    exn_status status = EXN_OK;
    for (size_t i = 1; i < tool->args->operand_count && status == EXN_OK; i++)
        status = classify(tool, runner, profile, tool->args->operands[i]);
    if (status == EXN_OK && exn_args_text(tool->args, "audit") != NULL) status = exn_runner_save_watch(runner, watch);
    exn_runner_destroy(runner);
    return status;
}

static exn_status run(exn_tool *tool) {
    exn_person person = {0};
    EXN_TRY(exn_person_open(&person, tool, tool->args->operands[0], NULL));
    exn_status status = exn_person_turn(&person, tool);
    if (status == EXN_OK && exn_args_text(tool->args, "verify") != NULL) status = exn_profile_verify(person.profile);
    if (status == EXN_OK) status = classify_all(tool, person.profile);
    exn_person_close(&person);
    return status;
}

static const exn_option options[] = {
    {"audit", "SHARE", "compare this share of answers with the last exit's, and step back where they differ too often",
     0},
    EXN_TARGET_OPTION,
    {"packed", "FILE", "where packed weights are kept for the next start; none: nowhere (default PROFILE.packed)", 0},
    {"verify", NULL, "first compare the network's weights with those the profile was made for", 0},
    EXN_COMMON_OPTIONS};

const exn_command exn_command_classify = {
    .name = "classify",
    .operands = "PROFILE FILE...",
    .brief = "label photos, leaving at the first exit that is sure",
    .help =
        "Prints label, confidence, exit taken and milliseconds for every JPEG or PNG file; with --json one object a\n"
        "line. --audit 0.01 watches over the exits: PROFILE.watch keeps what was seen from run to run.\n\nExample: "
        "exeunt classify me.safetensors holiday.jpg",
    .least = 2,
    .most = SIZE_MAX,
    .options = options,
    .run = run};
