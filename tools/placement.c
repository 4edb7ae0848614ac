/* SPDX-License-Identifier: Apache-2.0
 * Where exits go, from the command line. */
#include "tools/placement.h"

#include <string.h>

#include "train/profile.h"

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

/* --head; early exits can have every kind but the classifier. */
static bool read_kind(exn_head_kind *out, exn_args *args) {
    const char *names[EXN_HEAD_KINDS] = {NULL};
    exn_head_kind kinds[EXN_HEAD_KINDS] = {EXN_HEAD_AUTO};
    size_t count = 0, which = 0;
    for (size_t i = 0; i < EXN_HEAD_KINDS; i++) {
        if (i == EXN_HEAD_CLASSIFIER) continue;
        names[count] = exn_head_kind_names[i];
        kinds[count++] = (exn_head_kind)i;
    }
    if (!exn_args_choice(&which, args, "head", names)) return false;
    *out = kinds[which];
    return true;
}

exn_status exn_placement_read(exn_placement *out, exn_profile_options *options, exn_tool *tool) {
    if (!exn_args_count(&options->exits, tool->args, "exits", 1, EXN_EXITS_MAX - 1) ||
        !read_kind(&options->head, tool->args))
        return EXN_E_INVALID;
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
