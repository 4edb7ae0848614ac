/* SPDX-License-Identifier: Apache-2.0
 * exeunt evaluate: how right and how fast a profile is on samples. */
#include <stdio.h>

#include "tools/recall.h"

/* From a cache where one is named; else by running the networks. */
static exn_status judge(exn_figures *figures, json_t **photos, exn_tool *tool, const exn_person *person,
                        exn_dataset *data) {
    const exn_recall recall = {.cache = exn_args_text(tool->args, "cache"),
                               .costs = exn_args_text(tool->args, "costs"),
                               .dump = exn_args_text(tool->args, "dump")};
    const bool skip_bad = exn_args_text(tool->args, "skip-bad") != NULL;
    if (recall.cache == NULL) {
        if (recall.costs != NULL || recall.dump != NULL)
            return exn_tool_usage(tool, "--costs and --dump go with --cache");
        return exn_figures_measure(figures, tool, person->profile, data, NULL, skip_bad);
    }
    if (skip_bad) return exn_tool_usage(tool, "--skip-bad does not go with --cache");
    return exn_figures_recall(figures, photos, tool, person->profile, data, &recall);
}

static exn_status run(exn_tool *tool) {
    exn_person person = {0};
    EXN_TRY(exn_person_open(&person, tool, tool->args->operands[0], NULL));
    exn_dataset *data = NULL;
    exn_figures figures = {0};
    json_t *photos = NULL;
    exn_status status = exn_person_turn(&person, tool);
    if (status == EXN_OK) status = exn_person_data(&data, tool, &person, tool->args->operands[1]);
    if (status == EXN_OK) status = judge(&figures, &photos, tool, &person, data);
    if (status == EXN_OK && tool->json) {
        json_t *report = exn_report_create("evaluate");
        exn_figures_report(report, &figures, person.profile, exn_args_text(tool->args, "confusion") != NULL);
        if (photos != NULL) json_object_set(report, "photos", photos);
        status = exn_report_print(report, tool, false);
    } else if (status == EXN_OK) {
        exn_figures_print(&figures, person.profile);
    }
    json_decref(photos);
    exn_figures_free(&figures, tool->ctx);
    exn_dataset_close(data);
    exn_person_close(&person);
    return status;
}

static const exn_option options[] = {{"confusion", NULL, "with --json: counts of [class][answer] of the policy", 0},
                                     {"skip-bad", NULL, "leave unreadable photos out with a warning", 0},
                                     {"cache", "FILE", "features kept from run to run: nothing is timed", 0},
                                     {"costs", "FILE|macs", "with --cache: milliseconds of the exits", 0},
                                     {"dump", "FILE.npy", "with --cache: logits (samples, exits + 1, classes)", 0},
                                     EXN_TARGET_OPTION,
                                     EXN_COMMON_OPTIONS};

const exn_command exn_command_evaluate = {
    .name = "evaluate",
    .operands = "PROFILE DATA",
    .brief = "accuracy and milliseconds of every exit and of the policy",
    .help =
        "Runs the untouched network, every exit and the policy on each sample, the first and the last alternately, "
        "and\n"
        "prints accuracy, milliseconds and the share of samples that leave at each exit. DATA: see tools/README.md.\n\n"
        "Example: exeunt evaluate me.safetensors photos/ --json",
    .least = 2,
    .most = 2,
    .options = options,
    .run = run};
