/* SPDX-License-Identifier: Apache-2.0
 * Operands that touch a forbidden page, so that reading or writing one element too many is a fault. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/kcheck/kcheck.h"

typedef struct region {
    char *base; /* forbidden page, `bytes` of data, forbidden page */
    size_t bytes;
} region;

static region regions[KC_OPERANDS];
static struct {
    void *block;
    size_t bytes;
} scratches[KC_SCRATCHES];
static const char *const operand_names[KC_OPERANDS] = {"a", "b", "c", "bias", "residual", "extra", "table"};

static size_t page_bytes(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void give_up(const char *what) {
    fprintf(stderr, "kcheck: %s\n", what);
    exit(2);
}

static void region_grow(region *r, size_t bytes) {
    const size_t page = page_bytes();
    if (r->base) munmap(r->base, r->bytes + 2 * page);
    r->bytes = (2 * bytes + page) / page * page;
    r->base = mmap(NULL, r->bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r->base == MAP_FAILED || mprotect(r->base + page, r->bytes, PROT_READ | PROT_WRITE)) give_up("mmap failed");
}

float *kc_place(kc_operand which, size_t count, kc_side side, size_t shift) {
    region *r = &regions[which];
    const size_t bytes = (count + shift) * sizeof(float);
    if (bytes > r->bytes || !r->base) region_grow(r, bytes);
    char *first = r->base + page_bytes();
    char *start = side == KC_LEFT ? first + shift * sizeof(float) : first + r->bytes - bytes;
    return (float *)(void *)start;
}

void *kc_scratch(size_t index, size_t bytes) {
    if (bytes > scratches[index].bytes || !scratches[index].block) {
        free(scratches[index].block);
        scratches[index].bytes = (bytes + EXN_ALIGNMENT) / EXN_ALIGNMENT * EXN_ALIGNMENT;
        scratches[index].block = aligned_alloc(EXN_ALIGNMENT, scratches[index].bytes);
        if (!scratches[index].block) give_up("out of memory");
    }
    return scratches[index].block;
}

void kc_locate(char *text, size_t bytes, const void *address) {
    const uintptr_t at = (uintptr_t)address, page = page_bytes();
    for (size_t i = 0; i < KC_OPERANDS; i++) {
        const uintptr_t first = (uintptr_t)regions[i].base + page, end = first + regions[i].bytes;
        if (!regions[i].base) continue;
        if (at >= end && at < end + page) {
            snprintf(text, bytes, "%zu bytes beyond the end of %s", (size_t)(at - end), operand_names[i]);
            return;
        }
        if (at < first && at >= first - page) {
            snprintf(text, bytes, "%zu bytes before the start of %s", (size_t)(first - at), operand_names[i]);
            return;
        }
    }
    snprintf(text, bytes, "address %p", address);
}
