/* SPDX-License-Identifier: Apache-2.0
 * Manual page and completion from the tables of options. */
#include "tools/manual.h"

#include <stdio.h>
#include <string.h>

/* ---- manual page ---- */

/* roff takes a dot or quote at a line's start and every backslash for its own; a minus is written so that it can be copied. */
static void put_roff(const char *text) {
    bool start = true;
    for (const char *c = text; *c != '\0'; c++) {
        if (start && (*c == '.' || *c == '\'')) printf("\\&");
        if (*c == '\\')
            printf("\\e");
        else if (*c == '-')
            printf("\\-");
        else
            putchar(*c);
        start = *c == '\n';
    }
}

static void put_option(const exn_option *o) {
    printf(".TP\n");
    if (o->letter) printf("\\fB\\-%c\\fR, ", o->letter);
    printf("\\fB\\-\\-");
    put_roff(o->name);
    printf("\\fR");
    if (o->value) {
        printf(" \\fI");
        put_roff(o->value);
        printf("\\fR");
    }
    printf("\n");
    put_roff(o->help);
    printf("\n");
}

static void put_command(const exn_command *command) {
    printf(".SS \"exeunt %s", command->name);
    if (command->operands[0]) printf(" %s", command->operands);
    printf("\"\n.nf\n");
    put_roff(command->help);
    printf("\n.fi\n");
    for (const exn_option *o = command->options; o->name != NULL; o++) put_option(o);
}

void exn_manual_print(const exn_command *const commands[], size_t count) {
    printf(".TH EXEUNT 1 \"\" \"exeunt %s\" \"User Commands\"\n", exn_version());
    printf(".SH NAME\nexeunt \\- personalised early exits for pretrained CNNs\n"
           ".SH SYNOPSIS\n.B exeunt\n\\fICOMMAND\\fR [\\fIOPTION\\fR...]\n"
           ".SH DESCRIPTION\nTakes a pretrained convolutional network, attaches early exits, teaches them on a "
           "person's own photos\n"
           "while the network stays as it is, and lets photos leave as soon as an exit is sure.\n.SH COMMANDS\n");
    for (size_t i = 0; i < count; i++) put_command(commands[i]);
    printf(".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed: one line on standard error says what and "
           "where\n.TP\n2\nwrong usage\n"
           ".TP\n3\npaused by SIGINT or SIGTERM\n"
           ".SH ENVIRONMENT\n.TP\nEXN_CPU\nbest kernel set allowed, as with \\-\\-isa\n"
           ".TP\nNO_COLOR\nset: no colours on a terminal\n");
}

/* ---- completion ---- */

static void put_words(const exn_command *command) {
    for (const exn_option *o = command->options; o->name != NULL; o++) printf(" --%s", o->name);
}

/* Files are what operands and most values are. */
static void put_bash(const exn_command *const commands[], size_t count) {
    printf("_exeunt() {\n    local word=${COMP_WORDS[COMP_CWORD]} words\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words=\"");
    for (size_t i = 0; i < count; i++) printf("%s ", commands[i]->name);
    printf("--help --version\"\n    else\n        case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < count; i++) {
        printf("        %s) words=\"", commands[i]->name);
        put_words(commands[i]);
        printf("\" ;;\n");
    }
    printf("        esac\n        [[ $word == -* ]] || words=\"\"\n    fi\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
           "complete -o default -F _exeunt exeunt\n");
}

/* In single quotes, where zsh gives brackets and colons a meaning. */
static void put_zsh_text(const char *text) {
    for (const char *c = text; *c != '\0' && *c != '\n'; c++) {
        if (*c == '\'')
            printf("'\\''");
        else if (*c == '[' || *c == ']' || *c == ':' || *c == '\\')
            printf("\\%c", *c);
        else
            putchar(*c);
    }
}

static void put_zsh(const exn_command *const commands[], size_t count) {
    printf("#compdef exeunt\nlocal -a commands\ncommands=(\n");
    for (size_t i = 0; i < count; i++) {
        printf("    '%s:", commands[i]->name);
        put_zsh_text(commands[i]->brief);
        printf("'\n");
    }
    printf(")\nif (( CURRENT == 2 )); then\n    _describe command commands\n    return\nfi\nlocal command=$words[2]\n"
           "shift words\n(( CURRENT-- ))\ncase $command in\n");
    for (size_t i = 0; i < count; i++) {
        printf("%s) _arguments", commands[i]->name);
        for (const exn_option *o = commands[i]->options; o->name != NULL; o++) {
            printf(" \\\n    '--%s[", o->name);
            put_zsh_text(o->help);
            printf("]%s", o->value ? ":value:_files" : "");
            printf("'");
        }
        printf(" \\\n    '*:file:_files' ;;\n");
    }
    printf("esac\n");
}

bool exn_completion_print(const char *shell, const exn_command *const commands[], size_t count) {
    if (strcmp(shell, "bash") == 0)
        put_bash(commands, count);
    else if (strcmp(shell, "zsh") == 0)
        put_zsh(commands, count);
    else
        return false;
    return true;
}
