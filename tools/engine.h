/* SPDX-License-Identifier: Apache-2.0
 * A profile, or a part of it, ready to run: network, plan and memory in one. */
#ifndef EXN_TOOLS_ENGINE_H
#define EXN_TOOLS_ENGINE_H

#include "tools/dataset.h"
#include "tools/tool.h"
#include "train/profile.h"

/* A profile and the model it names, from files. */
typedef struct exn_person {
    exn_model *model;
    exn_profile *profile;
} exn_person;
/* model_path NULL: the network that the profile names. */
exn_status exn_person_open(exn_person *out, exn_tool *tool, const char *profile_path, const char *model_path);
void exn_person_close(exn_person *person);
/* --target; *out stays where it was not given. */
exn_status exn_target_read(exn_target *out, exn_tool *tool);
/* --target, where it was given: the profile turns to that operating point. */
exn_status exn_person_turn(exn_person *person, exn_tool *tool);
/* DATA with the profile's classes. */
exn_status exn_person_data(exn_dataset **out, exn_tool *tool, const exn_person *person, const char *path);

#define EXN_TARGET_OPTION                                                                                              \
    {                                                                                                                  \
        "target", "keep|untouched",                                                                                    \
            "nearly as right as the personalised network, or as fast as the untouched one's accuracy "                 \
            "allows (default: what the profile was made for)",                                                         \
            0                                                                                                          \
    }

typedef struct exn_engine {
    exn_context *ctx;
    exn_network network;
    exn_plan *plan;
    exn_exec *exec;
} exn_engine;
/* lender: an engine whose packed weights are used where they are the same; it stays open longer. NULL: none, and this one lends. */
exn_status exn_engine_open(exn_engine *out, exn_tool *tool, const exn_profile *profile, exn_network_part part,
                           const exn_engine *lender);
/* What one rule an exit of the profile asks for. */
exn_status exn_engine_open_ruled(exn_engine *out, exn_tool *tool, const exn_profile *profile,
                                 const exn_exit_rule *rules, const exn_engine *lender);
/* One exit alone. */
exn_status exn_engine_open_single(exn_engine *out, exn_tool *tool, const exn_profile *profile, size_t exit,
                                  const exn_engine *lender);
void exn_engine_close(exn_engine *engine);
/* Rows of the table of options of commands that may compute fast; all others compute exactly. */
#define EXN_ARITHMETIC_OPTIONS                                                                                         \
    {"arithmetic", "A", "exact, or fast: 3x3 convolutions may round differently (default exact)", 0}, {                \
        "fast-memory", "MB", "with --arithmetic fast: how much larger packed weights may be (default 96)", 0           \
    }
/* Reads these options. */
bool exn_engine_arithmetic(exn_plan_options *out, exn_tool *tool);
/* Row of the table of options of commands that may keep packed weights. */
#define EXN_PACKED_OPTION                                                                                              \
    { "packed", "FILE", "keep packed weights here: the next start maps them ready to run", 0 }
/* A graph's plan for the program's options. */
exn_status exn_engine_plan(exn_plan **out, exn_tool *tool, const exn_graph *graph, const exn_kernel_set *kernels,
                           const exn_value_id *outputs, size_t count);

/* Brings samples into the form the network takes: float32 c,h,w. */
typedef struct exn_feeder {
    const exn_profile *profile;
    exn_resizer *resizer;
    float *hwc;
    float *chw, *plain; /* handed out: as the profile's exits see it, and as the untouched network does; may be one */
} exn_feeder;
exn_status exn_feeder_open(exn_feeder *out, const exn_profile *profile);
void exn_feeder_close(exn_feeder *feeder);
exn_status exn_feeder_prepare(exn_feeder *feeder, exn_dataset *data, size_t index);

/* A text file's lines without their ends, empty last line dropped; at most `most`; freed with exn_lines_free. */
exn_status exn_lines_read(char ***out, size_t *count, exn_context *ctx, const char *path, size_t most);
void exn_lines_free(exn_context *ctx, char **lines, size_t count);

#endif
