/* SPDX-License-Identifier: Apache-2.0
 * Calls a kernel so that a crash, a hang or a changed floating-point environment is a named failure. */
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/kcheck/kcheck.h"

static sigjmp_buf escape;
static _Thread_local volatile sig_atomic_t armed; /* a fault on another thread than the caller is deadly */
static volatile sig_atomic_t caught_signal;
static void *volatile caught_address;

/* Control bits (rounding, flush to zero, traps) without the sticky exception flags, which arithmetic may raise. */
static uint64_t environment(void) {
#if defined(__x86_64__)
    uint32_t mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    return mxcsr & ~UINT32_C(0x3f);
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
#else
    return 0;
#endif
}

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    if (!armed) { /* a defect of kcheck itself: die as usual */
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    caught_signal = number;
    caught_address = info->si_addr;
    siglongjmp(escape, 1);
}

void kc_shield_install(void) {
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER; /* the mask never changes, so sigsetjmp need not save it */
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &action, NULL);
}

static void report_signal(void) {
    char place[96];
    const int number = caught_signal;
    if (number == SIGALRM) {
        kc_fail("hangs: the test is over its %u seconds", KC_HANG_SECONDS);
    } else if (number == SIGSEGV || number == SIGBUS) {
        kc_locate(place, sizeof place, caught_address);
        kc_fail("%s, %s", strsignal(number), place);
    } else {
        kc_fail("%s", strsignal(number));
    }
}

bool kc_call(void (*thunk)(void *), void *argument) {
    const uint64_t before = environment();
    if (sigsetjmp(escape, 0)) {
        armed = 0;
        report_signal();
        return false;
    }
    armed = 1;
    thunk(argument);
    armed = 0;
    const uint64_t after = environment();
    if (after != before)
        kc_fail("K7: floating-point control was %#llx, is %#llx", (unsigned long long)before,
                (unsigned long long)after);
    return after == before;
}
