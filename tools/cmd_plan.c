/* SPDX-License-Identifier: Apache-2.0
 * exeunt plan: what a network, with or without exits, will compute and how much memory that takes. */
#include <inttypes.h>
#include <stdio.h>

#include "tools/engine.h"
#include "tools/placement.h"
#include "tools/report.h"

typedef struct planned {
    exn_person person; /* profile NULL: the model alone */
    exn_network network;
    exn_plan *plan;
} planned;

static void release(planned *p, exn_tool *tool) {
    exn_plan_destroy(p->plan);
    exn_network_destroy(&p->network, tool->ctx);
    exn_person_close(&p->person);
}

static exn_status open_model(planned *out, exn_tool *tool, const char *path) {
    exn_model_options options = {.struct_size = sizeof options};
    size_t size = 0;
    if (!exn_args_count(&size, tool->args, "size", 1, 4096)) return EXN_E_INVALID;
    options.height = options.width = size;
    return exn_model_open(&out->person.model, tool->ctx, path, &options);
}

/* The model, its profile if one is named or exits are asked for, and the plan of both. */
static exn_status make_plan(planned *out, exn_tool *tool) {
    const char *path = tool->args->operands[0], *profile = exn_args_text(tool->args, "profile");
    const bool fresh = exn_args_text(tool->args, "exits") != NULL || exn_args_text(tool->args, "at") != NULL;
    if (!fresh && exn_args_text(tool->args, "head") != NULL)
        return exn_tool_usage(tool, "--head needs --exits or --at");
    if (profile != NULL && fresh) return exn_tool_usage(tool, "--profile excludes --exits and --at");
    if (profile != NULL) {
        EXN_TRY(exn_person_open(&out->person, tool, profile, path));
    } else {
        EXN_TRY(open_model(out, tool, path));
    }
    if (fresh) {
        exn_profile_options options = {.struct_size = sizeof options};
        options.preprocess.order = out->person.model->channels == 1 ? EXN_ORDER_GRAY : EXN_ORDER_RGB;
        exn_placement placement = {0};
        EXN_TRY(exn_placement_read(&placement, &options, tool));
        const exn_status status = exn_profile_create(&out->person.profile, out->person.model, &options);
        exn_placement_free(&placement);
        EXN_TRY(status);
    }
    const exn_model *model = out->person.model;
    if (out->person.profile == NULL)
        return exn_engine_plan(&out->plan, tool, model->graph, &model->kernels, &model->graph->output, 1);
    EXN_TRY(exn_network_build(&out->network, out->person.profile, 1, fresh ? EXN_NETWORK_ALL : EXN_NETWORK_NEEDED));
    return exn_engine_plan(&out->plan, tool, out->network.graph, &model->kernels, out->network.logits,
                           out->network.exit_count);
}

static json_t *layer_report(const exn_plan *plan, size_t i) {
    const exn_plan_step step = exn_plan_get_step(plan, i);
    char shape[EXN_SHAPE_TEXT_BYTES];
    json_t *object = json_object();
    exn_report_text(object, "name", step.name);
    exn_report_text(object, "op", step.op);
    exn_report_text(object, "algorithm", step.algorithm);
    exn_report_text(object, "why", step.why);
    exn_report_text(object, "shape", exn_shape_text(shape, &step.shape));
    exn_report_count(object, "macs", step.macs);
    exn_report_count(object, "live_bytes", step.live_bytes);
    exn_report_count(object, "branch", step.branch);
    return object;
}

static json_t *candidates_report(const exn_model *model) {
    json_t *list = json_array();
    for (size_t i = 0; i < model->tap_count; i++) {
        const exn_tap *tap = &model->taps[i];
        json_t *object = json_object();
        exn_report_text(object, "tap", tap->name);
        exn_report_count(object, "channels", tap->c);
        exn_report_count(object, "height", tap->h);
        exn_report_count(object, "width", tap->w);
        exn_report_count(object, "macs", tap->macs);
        exn_report_real(object, "macs_fraction", tap->macs_fraction);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *exits_report(const planned *p) {
    json_t *list = json_array();
    for (size_t i = 0; i < p->network.exit_count; i++) {
        const uint64_t macs = exn_plan_output_macs(p->plan, i);
        json_t *object = json_object();
        exn_report_count(object, "index", p->network.exit[i]);
        exn_report_text(object, "tap", p->person.profile->exits[p->network.exit[i]].tap);
        exn_report_count(object, "macs", macs);
        exn_report_real(object, "macs_fraction", (double)macs / (double)p->person.model->macs);
        json_array_append_new(list, object);
    }
    return list;
}

static exn_status print_json(exn_tool *tool, const planned *p) {
    const exn_model *model = p->person.model;
    const exn_arena_plan arena = exn_plan_arena(p->plan);
    json_t *report = exn_report_create("plan"), *layers = json_array();
    exn_report_text(report, "model", model->path);
    exn_report_count(report, "nodes", model->graph->node_count);
    exn_report_count(report, "macs", model->macs);
    exn_report_count(report, "parameters", model->parameters);
    json_object_set_new(report, "candidates", candidates_report(model));
    json_object_set_new(report, "exits", exits_report(p));
    exn_report_count(report, "steps", exn_plan_step_count(p->plan));
    exn_report_count(report, "arena_bytes", arena.bytes);
    exn_report_count(report, "arena_lower_bound_bytes", arena.lower_bound_bytes);
    exn_report_count(report, "packed_bytes", exn_plan_packed_bytes(p->plan));
    for (size_t i = 0; i < exn_plan_step_count(p->plan); i++) json_array_append_new(layers, layer_report(p->plan, i));
    json_object_set_new(report, "layers", layers);
    return exn_report_print(report, tool, false);
}

static void print_text(const planned *p) {
    const exn_model *model = p->person.model;
    const exn_arena_plan arena = exn_plan_arena(p->plan);
    printf("%s: input %zux%zux%zu, %zu classes, %zu operators, %.1f M multiply-adds, %.2f M parameters\n", model->path,
           model->channels, model->height, model->width, model->classes, model->graph->node_count,
           (double)model->macs * 1e-6, (double)model->parameters * 1e-6);
    printf("arena %zu bytes, lower bound %zu (%.3f); packed weights %zu bytes\n", arena.bytes, arena.lower_bound_bytes,
           (double)arena.bytes / (double)arena.lower_bound_bytes, exn_plan_packed_bytes(p->plan));
    printf("\ncandidate exits\n");
    for (size_t i = 0; i < model->tap_count; i++)
        printf("  %5.1f %%  %zux%zux%zu  %s\n", 100.0 * model->taps[i].macs_fraction, model->taps[i].c,
               model->taps[i].h, model->taps[i].w, model->taps[i].name);
    if (p->network.exit_count > 0) printf("\nexits\n");
    for (size_t i = 0; i < p->network.exit_count; i++)
        printf("  %zu  %5.1f %%  %s\n", p->network.exit[i],
               100.0 * (double)exn_plan_output_macs(p->plan, i) / (double)model->macs,
               p->person.profile->exits[p->network.exit[i]].tap);
    printf("\n%-4s %-20s %-26s %12s %10s  %s\n", "step", "operator", "algorithm", "MACs", "live", "result");
    for (size_t i = 0; i < exn_plan_step_count(p->plan); i++) {
        const exn_plan_step step = exn_plan_get_step(p->plan, i);
        char shape[EXN_SHAPE_TEXT_BYTES];
        printf("%-4zu %-20s %-26s %12" PRIu64 " %10zu  %s %s%s%s\n", i, step.op, step.algorithm, step.macs,
               step.live_bytes, exn_shape_text(shape, &step.shape), step.name, step.why[0] ? ": " : "", step.why);
    }
}

static exn_status run(exn_tool *tool) {
    planned p = {0};
    exn_status status = make_plan(&p, tool);
    if (status == EXN_OK && tool->json)
        status = print_json(tool, &p);
    else if (status == EXN_OK)
        print_text(&p);
    release(&p, tool);
    return status;
}

static const exn_option options[] = {EXN_PLACEMENT_OPTIONS,
                                     {"profile", "P", "plan as this person's runner has it", 0},
                                     {"size", "S", "input height and width where the file leaves them open", 0},
                                     EXN_ARITHMETIC_OPTIONS,
                                     EXN_COMMON_OPTIONS};

const exn_command exn_command_plan = {
    .name = "plan",
    .operands = "MODEL",
    .brief = "operators, multiply-adds, candidate exits and memory of a network",
    .help = "Prints how a network will be computed: every step with its algorithm, the bytes alive in it, the arena "
            "and its\n"
            "lower bound, and the values where exits can be attached. With --exits or --at the plan has these exits,\n"
            "with --profile only those that the person's policy needs.\n\n"
            "Example: exeunt plan network.onnx --exits 4",
    .least = 1,
    .most = 1,
    .options = options,
    .run = run};
