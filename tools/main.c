/* SPDX-License-Identifier: Apache-2.0
 * The exeunt program: finds the command, reads its options, reports its failure in one line. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/manual.h"
#include "tools/meter.h"
#include "tools/tool.h"

static const exn_command *const commands[] = {&exn_command_cpu,         &exn_command_plan,     &exn_command_attach,
                                              &exn_command_personalise, &exn_command_evaluate, &exn_command_run,
                                              &exn_command_classify,    &exn_command_report,   &exn_command_export,
                                              &exn_command_profile,     &exn_command_bench};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

exn_status exn_tool_usage(exn_tool *tool, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(tool->args->message, sizeof tool->args->message, format, list);
    va_end(list);
    return EXN_E_INVALID;
}

/* One line, whatever a file's names contain. */
static void print_line(const char *prefix, const char *message) {
    char line[EXN_MESSAGE_BYTES + 64];
    snprintf(line, sizeof line, "exeunt: %s%s", prefix, message);
    for (char *c = line; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    const bool colours = exn_terminal_colours();
    fprintf(stderr, "%s%s%s\n", colours ? prefix[0] != '\0' ? "\x1b[33m" : "\x1b[31m" : "", line,
            colours ? "\x1b[0m" : ""); /* yellow, red */
}

static void print_warning(void *user, exn_log_level level, const char *message) {
    const exn_tool *tool = user;
    if (level == EXN_LOG_WARNING && !tool->quiet) print_line("warning: ", message);
}

static void print_program_help(void) {
    printf("exeunt: personalised early exits for pretrained CNNs\n\nusage: exeunt COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) printf("  %-12s %s\n", commands[i]->name, commands[i]->brief);
    printf("\nexeunt COMMAND --help says more. exeunt --version prints the version,\n"
           "--manual a manual page, --completion bash|zsh what these shells source.\n"
           "Exit status: 0 done, 1 failed, 2 wrong usage, 3 paused (personalise --resume goes on).\n");
}

static void print_command_help(const exn_command *command) {
    printf("usage: exeunt %s%s%s [OPTION...]\n\n%s\n\noptions:\n", command->name, command->operands[0] ? " " : "",
           command->operands, command->help);
    for (const exn_option *o = command->options; o->name != NULL; o++) {
        char left[64];
        const char letter[5] = {'-', o->letter, ',', ' ', '\0'};
        snprintf(left, sizeof left, "%s--%s%s%s", o->letter ? letter : "", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-24s %s\n", left, o->help);
    }
}

static const exn_command *find_command(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

/* What was printed must have arrived. A command that failed has said its line already. */
static int finish_output(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    if (status != 0) return status;
    print_line("standard output: ", strerror(errno));
    return EXN_EXIT_FAILED;
}

static int run_command(const exn_command *command, exn_args *args) {
    exn_tool tool = {.args = args,
                     .json = exn_args_text(args, "json") != NULL,
                     .quiet = exn_args_text(args, "quiet") != NULL,
                     .threads = 1};
    if (!exn_args_count(&tool.threads, args, "threads", 1, 256)) {
        print_line("", args->message);
        return EXN_EXIT_USAGE;
    }
    if (tool.quiet) exn_meter_silence();
    const exn_context_options options = {.struct_size = sizeof options,
                                         .log = print_warning,
                                         .log_user = &tool,
                                         .cpu = exn_args_text(args, "isa"),
                                         .threads = tool.threads};
    exn_status status = exn_context_create(&tool.ctx, &options);
    if (status != EXN_OK) {
        print_line("", exn_status_name(status));
        return EXN_EXIT_FAILED;
    }
    status = command->run(&tool);
    int result = 0;
    if (args->message[0] != '\0') {
        print_line("", args->message);
        result = EXN_EXIT_USAGE;
    } else if (status == EXN_PAUSED) {
        result = EXN_EXIT_PAUSED;
    } else if (status != EXN_OK) {
        const char *message = exn_context_error(tool.ctx);
        print_line("", message[0] != '\0' ? message : exn_status_name(status));
        result = EXN_EXIT_FAILED;
    }
    exn_context_destroy(tool.ctx);
    return finish_output(result);
}

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit shall be a failed write with a message, not a death */
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_program_help();
        return finish_output(0);
    }
    if (strcmp(name, "--version") == 0) {
        printf("exeunt %s\n", exn_version());
        return finish_output(0);
    }
    if (strcmp(name, "--manual") == 0) {
        exn_manual_print(commands, COMMAND_COUNT);
        return finish_output(0);
    }
    if (strcmp(name, "--completion") == 0) {
        if (exn_completion_print(argc > 2 ? argv[2] : "", commands, COMMAND_COUNT)) return finish_output(0);
        print_line("", "--completion takes bash or zsh");
        return EXN_EXIT_USAGE;
    }
    const exn_command *command = find_command(name);
    if (command == NULL) {
        char message[128];
        snprintf(message, sizeof message,
                 argc > 1 ? "unknown command '%.60s'; see exeunt --help" : "%sno command; see exeunt --help", name);
        print_line("", message);
        return EXN_EXIT_USAGE;
    }
    exn_args args;
    if (!exn_args_parse(&args, command->options, argc - 2, argv + 2)) {
        print_line("", args.message);
        return EXN_EXIT_USAGE;
    }
    if (exn_args_text(&args, "help") != NULL) {
        print_command_help(command);
        return finish_output(0);
    }
    if (args.operand_count < command->least || args.operand_count > command->most) {
        char message[256];
        const char *extra = args.operand_count > command->most ? args.operands[command->most] : NULL;
        snprintf(message, sizeof message, "%s%.100s%s; usage: exeunt %s%s%s [OPTION...]",
                 extra ? "unexpected operand '" : "an operand is missing", extra ? extra : "", extra ? "'" : "",
                 command->name, command->operands[0] ? " " : "", command->operands);
        print_line("", message);
        return EXN_EXIT_USAGE;
    }
    return run_command(command, &args);
}
