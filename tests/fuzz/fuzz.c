/* SPDX-License-Identifier: Apache-2.0
 * A counting, bounded allocator, a private folder, inputs. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = 4 };

/* In front of every block, within its first alignment's worth. */
typedef struct head {
    size_t bytes, alignment;
} head;

static size_t live, live_bytes;
static char folder[PATH_MAX - 128], paths[SLOTS][PATH_MAX];

/* Targets run on one thread. */
static void *allocate(void *user, size_t bytes, size_t alignment) {
    (void)user;
    void *block = NULL;
    if (alignment < sizeof(head)) alignment = EXN_ALIGNMENT;
    if (bytes > FUZZ_BYTES_MAX - live_bytes || posix_memalign(&block, alignment, bytes + alignment) != 0) return NULL;
    char *payload = (char *)block + alignment;
    ((head *)(void *)payload)[-1] = (head){bytes, alignment};
    live++;
    live_bytes += bytes;
    return payload;
}

static void release(void *user, void *block) {
    (void)user;
    if (block == NULL) return;
    const head *of = (const head *)block - 1;
    live--;
    live_bytes -= of->bytes;
    free((char *)block - of->alignment);
}

exn_context *fuzz_context(void) {
    static exn_context *ctx;
    const exn_context_options options = {.struct_size = sizeof options, .allocator = {allocate, release, NULL}};
    if (ctx == NULL) fuzz_assert(exn_context_create(&ctx, &options) == EXN_OK);
    return ctx;
}

size_t fuzz_live(void) {
    return live;
}

void fuzz_assert_live(size_t wanted) {
    if (live != wanted) fprintf(stderr, "%zu blocks, %zu before\n", live, wanted);
    fuzz_assert(live == wanted);
}

void fuzz_check(bool holds, const char *what, const char *file, int line) {
    if (holds) return;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static void remove_folder(void) {
    nftw(folder, remove_entry, 4, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_path(size_t slot, const char *name) {
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/exeunt-fuzz-XXXXXX", base != NULL ? base : "/tmp");
        fuzz_assert(mkdtemp(folder) != NULL);
        atexit(remove_folder);
    }
    fuzz_assert(slot < SLOTS);
    snprintf(paths[slot], sizeof paths[slot], "%s/%s", folder, name);
    return paths[slot];
}

const char *fuzz_file(size_t slot, const char *name, const uint8_t *bytes, size_t size) {
    const char *path = fuzz_path(slot, name);
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fuzz_assert(file >= 0);
    fuzz_assert(write(file, bytes, size) == (ssize_t)size);
    close(file);
    return path;
}

uint8_t *fuzz_copy(const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size + 1); /* a block for no bytes, too */
    fuzz_assert(copy != NULL);
    memcpy(copy, bytes, size);
    return copy;
}

void fuzz_input(float *values, size_t count) {
    for (size_t i = 0; i < count; i++) values[i] = (float)(i * 7919 % 257) / 64.0f - 2.0f;
}
