/* SPDX-License-Identifier: Apache-2.0
 * What every command of the program shares: its context, its command line, its exit statuses. */
#ifndef EXN_TOOLS_TOOL_H
#define EXN_TOOLS_TOOL_H

#include <signal.h>

#include "core/context.h"
#include "tools/args.h"

enum { EXN_EXIT_FAILED = 1, EXN_EXIT_USAGE = 2, EXN_EXIT_PAUSED = 3 };

typedef struct exn_tool {
    exn_context *ctx;
    exn_args *args;   /* a failure with args->message set is one of usage */
    bool json, quiet; /* quiet: what was asked for, but no progress and no warnings */
    size_t threads;
    const volatile sig_atomic_t *stop; /* NULL, or set by a signal: long work shall return EXN_PAUSED */
} exn_tool;

typedef struct exn_command {
    const char *name;
    const char *operands; /* for the usage line */
    const char *brief;    /* one line of `exeunt --help` */
    const char *help;     /* what it does, its defaults, one example */
    size_t least, most;   /* number of operands */
    const exn_option *options;
    exn_status (*run)(exn_tool *tool);
} exn_command;

/* The last rows of every command's table of options. */
#define EXN_COMMON_OPTIONS                                                                                             \
    {"json", NULL, "print JSON", 0}, {"quiet", NULL, "no progress, no warnings", 'q'},                                 \
        {"threads", "N", "threads to compute with (default 1)", 0},                                                    \
        {"isa", "NAME", "best kernel set allowed (exeunt cpu lists them; default: the last)", 0},                      \
        {"help", NULL, "this text", 'h'}, {                                                                            \
        NULL, NULL, NULL, 0                                                                                            \
    }

extern const exn_command exn_command_cpu, exn_command_plan, exn_command_attach, exn_command_personalise,
    exn_command_evaluate, exn_command_run, exn_command_classify, exn_command_export, exn_command_report,
    exn_command_profile, exn_command_bench;

/* Records a mistake in how options were combined. */
exn_status exn_tool_usage(exn_tool *tool, const char *format, ...) EXN_PRINTF(2, 3);

#endif
