/* SPDX-License-Identifier: Apache-2.0
 * exeunt report: a page to look at. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "tools/story.h"

/* Exits as a runner has them. */
static exn_status open_plan(exn_engine *out, exn_tool *tool, const exn_profile *profile) {
    exn_exit_rule rules[EXN_EXITS_MAX];
    EXN_TRY(exn_profile_rules(rules, profile, EXN_TARGET_PROFILE));
    return exn_engine_open_ruled(out, tool, profile, rules, NULL);
}

static exn_status write_page(exn_text *page, const char *path) {
    char *text;
    exn_context *ctx = page->ctx;
    EXN_TRY(exn_text_take(&text, page));
    const exn_status status = exn_file_replace(ctx, path, text, strlen(text));
    exn_free(ctx, text);
    return status;
}

static exn_status tell(exn_tool *tool, const exn_story *story, const char *path) {
    exn_text page = {.ctx = tool->ctx};
    char title[EXN_MESSAGE_BYTES];
    snprintf(title, sizeof title, "Exeunt: %s", tool->args->operands[0]);
    exn_page_begin(&page, title);
    exn_story_summary(&page, story);
    exn_story_curve(&page, story);
    exn_story_shares(&page, story);
    exn_story_decisions(&page, story);
    exn_story_history(&page, story);
    exn_story_reliability(&page, story);
    exn_story_confusion(&page, story);
    exn_story_memory(&page, story);
    exn_page_end(&page);
    return write_page(&page, path);
}

static exn_status describe(exn_tool *tool, const exn_person *person, exn_dataset *data, const char *path) {
    exn_figures figures = {0};
    exn_recalled recalled = {0};
    exn_engine engine = {0};
    json_t *photos = NULL;
    const exn_recall wish = {
        .cache = exn_args_text(tool->args, "cache"), .costs = exn_args_text(tool->args, "costs"), .keep = &recalled};
    EXN_TRY(exn_figures_recall(&figures, &photos, tool, person->profile, data, &wish));
    exn_story story = {.profile = person->profile,
                       .figures = &figures,
                       .recalled = &recalled,
                       .vector = &person->model->kernels.f32_vector};
    int64_t *label = exn_malloc(tool->ctx, recalled.samples, sizeof *label);
    exn_status status = label ? open_plan(&engine, tool, person->profile) : EXN_E_NOMEM;
    if (status == EXN_OK) {
        for (size_t i = 0; i < recalled.samples; i++) label[i] = exn_dataset_label(data, i);
        story.label = label;
        story.plan = engine.plan;
        status = tell(tool, &story, path);
    }
    if (status == EXN_OK && tool->json) {
        json_t *report = exn_report_create("report");
        exn_report_text(report, "output", path);
        exn_figures_report(report, &figures, person->profile, true);
        status = exn_report_print(report, tool, false);
    } else if (status == EXN_OK) {
        printf("wrote %s\n", path);
    }
    exn_free(tool->ctx, label);
    exn_engine_close(&engine);
    json_decref(photos);
    exn_recalled_free(&recalled, tool->ctx);
    exn_figures_free(&figures, tool->ctx);
    return status;
}

static exn_status run(exn_tool *tool) {
    const char *path = exn_args_text(tool->args, "output");
    exn_person person = {0};
    exn_dataset *data = NULL;
    if (path == NULL) return exn_tool_usage(tool, "report needs -o OUT.html");
    exn_status status = exn_person_open(&person, tool, tool->args->operands[0], NULL);
    if (status == EXN_OK) status = exn_person_turn(&person, tool);
    if (status == EXN_OK) status = exn_person_data(&data, tool, &person, tool->args->operands[1]);
    if (status == EXN_OK) status = describe(tool, &person, data, path);
    exn_dataset_close(data);
    exn_person_close(&person);
    return status;
}

static const exn_option options[] = {{"output", "OUT.html", "where the page goes (needed)", 'o'},
                                     {"cache", "FILE", "features kept from run to run (default: in memory)", 0},
                                     {"costs", "FILE|macs", "milliseconds of the exits (default: measured now)", 0},
                                     EXN_TARGET_OPTION,
                                     EXN_COMMON_OPTIONS};

const exn_command exn_command_report = {.name = "report",
                                        .operands = "PROFILE DATA",
                                        .brief = "a page with charts: accuracy against time, exits, memory, decisions",
                                        .help = "Writes one HTML page that needs nothing from anywhere: accuracy "
                                                "against mean milliseconds with the chosen point, the\n"
                                                "share of photos of every exit, how exits grew, their calibration, "
                                                "confusion, the memory plan, and what was decided\n"
                                                "and why. DATA are photos that did not take part in personalising.\n\n"
                                                "Example: exeunt report me.safetensors test/ -o me.html",
                                        .least = 2,
                                        .most = 2,
                                        .options = options,
                                        .run = run};
