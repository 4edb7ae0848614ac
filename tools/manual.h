/* SPDX-License-Identifier: Apache-2.0
 * What people install beside a program, written from the same tables as --help: manual page and shell completion. */
#ifndef EXN_TOOLS_MANUAL_H
#define EXN_TOOLS_MANUAL_H

#include "tools/tool.h"

/* The manual page of section 1 (man(7) macros), on standard output. */
void exn_manual_print(const exn_command *const commands[], size_t count);
/* Completion for "bash" or "zsh" on standard output; false: another shell. */
bool exn_completion_print(const char *shell, const exn_command *const commands[], size_t count);

#endif
