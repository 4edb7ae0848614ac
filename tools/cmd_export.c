/* SPDX-License-Identifier: Apache-2.0
 * exeunt export: a profile's network for any ONNX runtime. */
#include <stdio.h>

#include "tools/engine.h"
#include "tools/report.h"

static exn_status read_form(exn_export_options *out, exn_tool *tool, size_t exits) {
    const bool cut = exn_args_text(tool->args, "exit") != NULL, leave = exn_args_text(tool->args, "leave") != NULL;
    if (cut && leave) return exn_tool_usage(tool, "--exit and --leave exclude each other");
    if (!leave && exn_args_text(tool->args, "target") != NULL) return exn_tool_usage(tool, "--target needs --leave");
    if (!exn_args_count(&out->exit, tool->args, "exit", 0, exits - 1) ||
        !exn_args_count(&out->batch, tool->args, "batch", 1, 1024))
        return EXN_E_INVALID;
    if (leave && out->batch != 1) return exn_tool_usage(tool, "--leave needs batch 1: samples leave one by one");
    out->form = cut ? EXN_EXPORT_CUT : leave ? EXN_EXPORT_LEAVE : EXN_EXPORT_EXITS;
    return exn_target_read(&out->target, tool);
}

static exn_status report(exn_tool *tool, const exn_export_options *o, const char *path, size_t exits) {
    static const char *const forms[] = {"exits", "cut", "leave"};
    if (!tool->json) {
        printf("wrote %s\n", path);
        return EXN_OK;
    }
    json_t *json = exn_report_create("export");
    exn_report_text(json, "output", path);
    exn_report_text(json, "form", forms[o->form]);
    exn_report_count(json, "exits", o->form == EXN_EXPORT_CUT ? 1 : exits);
    return exn_report_print(json, tool, false);
}

static exn_status run(exn_tool *tool) {
    const char *path = exn_args_text(tool->args, "output");
    exn_person person = {0};
    if (path == NULL) return exn_tool_usage(tool, "export needs -o OUT.onnx");
    exn_export_options options = {.struct_size = sizeof options, .batch = 1};
    exn_status status = exn_person_open(&person, tool, tool->args->operands[0], NULL);
    const size_t exits = status == EXN_OK ? exn_profile_exit_count(person.profile) : 0;
    if (status == EXN_OK) status = read_form(&options, tool, exits);
    if (status == EXN_OK) status = exn_profile_export(person.profile, path, &options);
    if (status == EXN_OK) status = report(tool, &options, path, exits);
    exn_person_close(&person);
    return status;
}

static const exn_option options[] = {
    {"output", "OUT.onnx", "where the network goes (needed)", 'o'},
    {"exit", "K", "cut at this exit: its logits are the only output, nothing behind it is written", 0},
    {"leave", NULL, "leave at the first exit that is sure: a runtime skips the rest (ONNX If)", 0},
    {"target", "keep|untouched", "with --leave: whose exits and thresholds (default: what the profile was made for)",
     0},
    {"batch", "N", "samples computed at once, fixed in the file (default 1)", 0},
    EXN_COMMON_OPTIONS};

const exn_command exn_command_export = {.name = "export",
                                        .operands = "PROFILE",
                                        .brief = "the personalised network as ONNX, for any runtime",
                                        .help = "Writes the network with a profile's exits as ONNX (opset 17). By "
                                                "default the logits of every exit are outputs,\n"
                                                "exit_0 and so on. Metadata holds class names and preprocessing.\n\n"
                                                "Example: exeunt export me.safetensors -o me.onnx --leave",
                                        .least = 1,
                                        .most = 1,
                                        .options = options,
                                        .run = run};
