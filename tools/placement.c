/* SPDX-License-Identifier: Apache-2.0
 * Where exits go, from the command line. */
#include "tools/placement.h"

#include <string.h>

static exn_status split_taps(exn_placement *out, const char *list) {
    size_t count = 1;
    for (const char *c = list; *c != '\0'; c++) count += *c == ',';
    out->text = exn_strdup(out->ctx, list);
    out->taps = exn_calloc(out->ctx, count, sizeof *out->taps);
    if (out->text == NULL || out->taps == NULL) return EXN_E_NOMEM;
    for (char *word = out->text; word != NULL;) {
        char *comma = strchr(word, ',');
        if (comma != NULL) *comma++ = '\0';
        out->taps[out->tap_count++] = word;
        word = comma;
    }
    return EXN_OK;
}

exn_status exn_placement_read(exn_placement *out, exn_profile_options *options, exn_tool *tool) {
    static const char *const kinds[] = {"auto", "linear", "pooled", "conv", NULL};
    size_t kind = EXN_HEAD_AUTO;
    if (!exn_args_count(&options->exits, tool->args, "exits", 1, 64) ||
        !exn_args_choice(&kind, tool->args, "head", kinds))
        return EXN_E_INVALID;
    options->head = (exn_head_kind)kind;
    const char *list = exn_args_text(tool->args, "at");
    if (list == NULL) return EXN_OK;
    if (options->exits > 0) return exn_tool_usage(tool, "--exits and --at exclude each other");
    exn_placement placement = {.ctx = tool->ctx};
    const exn_status status = split_taps(&placement, list);
    if (status != EXN_OK) {
        exn_placement_free(&placement);
        return status;
    }
    options->taps = placement.taps;
    options->tap_count = placement.tap_count;
    *out = placement;
    return EXN_OK;
}

void exn_placement_free(exn_placement *placement) {
    if (placement->ctx == NULL) return;
    exn_free(placement->ctx, placement->taps);
    exn_free(placement->ctx, placement->text);
    *placement = (exn_placement){0};
}
