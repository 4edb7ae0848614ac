/* SPDX-License-Identifier: Apache-2.0
 * Counts cases, names failures, prints one line per kernel of each set. */
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "tests/kcheck/kcheck.h"

#define FAILURES_SHOWN 4u /* a test; the rest is counted */
#define TEXT_BYTES 320u

static struct {
    kc_subject subject; /* its kernel points to `kernel` */
    char kernel[96];
    bool open;
    char test[64];
    uint64_t test_stream;
    size_t case_index;
    bool case_failed;
    kc_describe_fn *describe;
    const void *argument;
    exn_rng rng;
    size_t shown;                 /* failures printed of this test */
    size_t tests, passed, failed; /* of the subject */
    size_t all_passed, all_failed, all_skipped, all_subjects;
} now;

/* A golden file is hashes only. */
static FILE *report_file(void) {
    return kc_opt.write_golden ? stderr : stdout;
}

static const char *set_name(void) {
    return now.subject.set ? now.subject.set->name : "generic";
}

static void case_end(void) {
    if (!now.describe) return;
    if (now.case_failed)
        now.failed++;
    else
        now.passed++;
    now.describe = NULL;
    now.case_failed = false;
}

static void subject_end(void) {
    case_end();
    if (!now.open) return;
    now.open = false;
    if (now.passed + now.failed == 0) return;
    if (kc_opt.json)
        fprintf(report_file(),
                "{\"schema\":\"exeunt.kcheck/"
                "1\",\"set\":\"%s\",\"kernel\":\"%s\",\"tests\":%zu,\"passed\":%zu,\"failed\":%zu}\n",
                set_name(), now.subject.kernel, now.tests, now.passed, now.failed);
    else
        fprintf(report_file(), "%-4s %-10s %-28s %3zu tests %8zu cases %6zu failed\n", now.failed ? "FAIL" : "ok",
                set_name(), now.subject.kernel, now.tests, now.passed + now.failed, now.failed);
    fflush(report_file());
    now.all_passed += now.passed;
    now.all_failed += now.failed;
    now.all_subjects++;
}

static bool wanted(const char *text) {
    return !kc_opt.fn || kc_glob(kc_opt.fn, text);
}

bool kc_subject_begin(const exn_kernel_set *set, const char *kernel) {
    subject_end();
    snprintf(now.kernel, sizeof now.kernel, "%s", kernel);
    now.subject = (kc_subject){set, now.kernel};
    now.open = true;
    now.tests = now.passed = now.failed = 0;
    /* A pattern with a slash speaks of tests and is looked at there. */
    return (kc_opt.fn && strchr(kc_opt.fn, '/')) || wanted(kernel);
}

bool kc_subject_fused(void) {
    return now.subject.set && now.subject.set->fused;
}

bool kc_test(const char *name) {
    char full[160];
    case_end();
    snprintf(full, sizeof full, "%s/%s", now.subject.kernel, name);
    if (kc_opt.fn && strchr(kc_opt.fn, '/') && !kc_glob(kc_opt.fn, full)) return false;
    snprintf(now.test, sizeof now.test, "%s", name);
    now.test_stream = kc_hash(KC_HASH_START, name, strlen(name));
    now.case_index = now.shown = 0;
    now.tests++;
    alarm(KC_HANG_SECONDS);
    return true;
}

void kc_case(kc_describe_fn *describe, const void *argument) {
    case_end();
    now.describe = describe;
    now.argument = argument;
    now.rng = exn_rng_seed(kc_opt.seed, now.test_stream + now.case_index);
    now.case_index++;
}

exn_rng *kc_rng(void) {
    return &now.rng;
}

void kc_fail(const char *format, ...) {
    char text[TEXT_BYTES] = "", why[TEXT_BYTES];
    now.case_failed = true;
    if (now.shown++ >= FAILURES_SHOWN) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    if (now.describe) now.describe(text, sizeof text, now.argument);
    fprintf(stderr, "FAIL %s %s/%s: %s: %s (--seed %llu --set %s --fn '%s/%s')\n", set_name(), now.subject.kernel,
            now.test, text, why, (unsigned long long)kc_opt.seed, set_name(), now.subject.kernel, now.test);
}

void kc_skip(const char *format, ...) {
    va_list arguments;
    subject_end();
    va_start(arguments, format);
    if (!kc_opt.json) {
        fprintf(report_file(), "skip ");
        vfprintf(report_file(), format, arguments);
        fprintf(report_file(), "\n");
    }
    va_end(arguments);
    now.all_skipped++;
}

int kc_report(void) {
    subject_end();
    alarm(0);
    if (kc_opt.json)
        fprintf(report_file(), "{\"schema\":\"exeunt.kcheck/1\",\"passed\":%zu,\"failed\":%zu,\"skipped\":%zu}\n",
                now.all_passed, now.all_failed, now.all_skipped);
    else
        fprintf(report_file(), "%zu passed, %zu failed, %zu skipped\n", now.all_passed, now.all_failed,
                now.all_skipped);
    if (now.all_subjects == 0 && now.all_skipped == 0) fprintf(stderr, "kcheck: nothing matches --set and --fn\n");
    return now.all_failed || (now.all_subjects == 0 && now.all_skipped == 0);
}
