/* SPDX-License-Identifier: Apache-2.0
 * The options that place exits on a model and say how it sees, shared by plan and attach. */
#ifndef EXN_TOOLS_PLACEMENT_H
#define EXN_TOOLS_PLACEMENT_H

#include "tools/tool.h"

#define EXN_PLACEMENT_OPTIONS                                                                                          \
    {"exits", "K", "early exits wanted, each dearer by the same factor (default 4)", 0},                               \
        {"at", "NAME,NAME", "attach exits at these values instead (exeunt plan lists them)", 0}, {                     \
        "head", "KIND",                                                                                                \
            "linear, pooled, conv, wide or conv2 (default: auto: pooled, or what pretraining finds worth its cost)", 0 \
    }

/* Reads --exits, --at and --head into options; taps and their text are freed with exn_placement_free. */
typedef struct exn_placement {
    exn_context *ctx;
    char *text;
    const char **taps;
    size_t tap_count;
} exn_placement;
exn_status exn_placement_read(exn_placement *out, exn_profile_options *options, exn_tool *tool);
void exn_placement_free(exn_placement *placement);

#endif
