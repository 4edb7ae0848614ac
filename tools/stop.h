/* SPDX-License-Identifier: Apache-2.0
 * Long work that a signal may pause: the first SIGINT or SIGTERM asks it to stop, a second one kills. */
#ifndef EXN_TOOLS_STOP_H
#define EXN_TOOLS_STOP_H

#include <signal.h>
#include <stdbool.h>

/* Set by the first signal while signals are caught. */
extern volatile sig_atomic_t exn_stop_asked;
/* on: signals ask; off: they end the program, as if never caught. */
void exn_stop_catch(bool on);

#endif
