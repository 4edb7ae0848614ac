/* SPDX-License-Identifier: Apache-2.0
 * Signals as a request to stop. */
#include "tools/stop.h"

volatile sig_atomic_t exn_stop_asked;

static void ask_to_stop(int number) {
    (void)number;
    exn_stop_asked = 1;
}

void exn_stop_catch(bool on) {
    struct sigaction action = {.sa_handler = on ? ask_to_stop : SIG_DFL, .sa_flags = on ? (int)SA_RESETHAND : 0};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}
