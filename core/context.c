/* SPDX-License-Identifier: Apache-2.0
 * The context: who gives memory, who hears of failures, which kernel set and how many threads are wished for. */
#include "core/context.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct exn_context {
    exn_allocator allocator;
    exn_log_fn *log;
    void *log_user;
    char *cpu; /* owned; NULL: the best */
    size_t threads;
    exn_limits limits;
    pthread_mutex_t lock; /* guards message */
    char message[EXN_MESSAGE_BYTES];
};

static void *system_allocate(void *user, size_t bytes, size_t alignment) {
    (void)user;
    void *block = NULL;
    return posix_memalign(&block, alignment, bytes) == 0 ? block : NULL;
}

static void system_release(void *user, void *block) {
    (void)user;
    free(block);
}

/* ---- Checked sizes ---- */

bool exn_size_mul(size_t *out, size_t a, size_t b) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool exn_size_add(size_t *out, size_t a, size_t b) {
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

size_t exn_round_up(size_t bytes) {
    const size_t mask = EXN_ALIGNMENT - 1;
    return bytes > SIZE_MAX - mask ? SIZE_MAX : (bytes + mask) & ~mask;
}

/* ---- Options and results that carry struct_size ---- */

/* More than this is not a newer caller's struct but memory that nobody initialised. */
#define STRUCT_BYTES_MAX ((size_t)4096)

exn_status exn_options_read(void *out, size_t out_bytes, exn_context *ctx, const void *options) {
    size_t given = 0;
    if (options != NULL) {
        memcpy(&given, options, sizeof given);
        if (given < sizeof given || given > STRUCT_BYTES_MAX)
            return exn_fail(ctx, EXN_E_INVALID, "options: struct_size is %zu: set it to sizeof(the struct)", given);
    }
    for (size_t i = out_bytes; i < given; i++)
        if (((const unsigned char *)options)[i] != 0)
            return exn_fail(ctx, EXN_E_UNSUPPORTED, "options: a field at byte %zu is newer than this library", i);
    memset(out, 0, out_bytes);
    if (given > 0) memcpy(out, options, given < out_bytes ? given : out_bytes);
    memcpy(out, &out_bytes, sizeof out_bytes);
    return EXN_OK;
}

exn_status exn_result_write(void *out, exn_context *ctx, const void *result, size_t result_bytes) {
    size_t room = 0;
    if (out != NULL) memcpy(&room, out, sizeof room);
    if (room < sizeof room || room > STRUCT_BYTES_MAX)
        return exn_fail(ctx, EXN_E_INVALID, "result: struct_size is %zu: set it to sizeof(the struct)", room);
    const size_t copied = room < result_bytes ? room : result_bytes;
    memcpy((char *)out + sizeof room, (const char *)result + sizeof room, copied - sizeof room);
    if (room > copied) memset((char *)out + copied, 0, room - copied);
    return EXN_OK;
}

/* ---- Life of a context ---- */

/* The options' wish, else the environment's; an empty one is none. */
static const char *wished_cpu(const exn_context_options *options) {
    const char *cpu = options->cpu != NULL ? options->cpu : getenv("EXN_CPU");
    return cpu != NULL && cpu[0] != '\0' ? cpu : NULL;
}

static size_t given_or(size_t given, size_t otherwise) {
    return given > 0 ? given : otherwise;
}

static exn_limits limits_of(const exn_context_options *wish) {
    return (exn_limits){.block_bytes = given_or(wish->block_limit_bytes, EXN_BLOCK_LIMIT_BYTES),
                        .file_bytes = given_or(wish->file_limit_bytes, SIZE_MAX),
                        .nodes = given_or(wish->node_limit, EXN_NODES_USUAL),
                        .elements = given_or(wish->element_limit, EXN_ELEMENTS_MAX)};
}

exn_status exn_context_create(exn_context **out, const exn_context_options *options) {
    exn_context_options wish;
    if (out == NULL) return EXN_E_INVALID;
    EXN_TRY(exn_options_read(&wish, sizeof wish, NULL, options));
    if ((wish.allocator.allocate == NULL) != (wish.allocator.release == NULL)) return EXN_E_INVALID;
    if (wish.threads > EXN_THREADS_MAX || wish.element_limit > EXN_ELEMENTS_MAX || wish.node_limit > EXN_NODES_MOST)
        return EXN_E_INVALID;
    if (wish.allocator.allocate == NULL) wish.allocator = (exn_allocator){system_allocate, system_release, NULL};

    exn_context *ctx = wish.allocator.allocate(wish.allocator.user, sizeof *ctx, EXN_ALIGNMENT);
    if (ctx == NULL) return EXN_E_NOMEM;
    *ctx = (exn_context){.allocator = wish.allocator,
                         .log = wish.log,
                         .log_user = wish.log_user,
                         .threads = wish.threads > 0 ? wish.threads : 1,
                         .limits = limits_of(&wish)};
    const int refused = pthread_mutex_init(&ctx->lock, NULL);
    if (refused != 0) {
        wish.allocator.release(wish.allocator.user, ctx);
        return EXN_E_NOMEM;
    }
    const char *cpu = wished_cpu(&wish);
    if (cpu != NULL && (ctx->cpu = exn_strdup(ctx, cpu)) == NULL) {
        exn_context_destroy(ctx);
        return EXN_E_NOMEM;
    }
    *out = ctx;
    return EXN_OK;
}

void exn_context_destroy(exn_context *ctx) {
    if (ctx == NULL) return;
    const exn_allocator allocator = ctx->allocator;
    exn_free(ctx, ctx->cpu);
    pthread_mutex_destroy(&ctx->lock);
    allocator.release(allocator.user, ctx);
}

size_t exn_context_threads(const exn_context *ctx) {
    return ctx->threads;
}

const exn_limits *exn_context_limits(const exn_context *ctx) {
    return &ctx->limits;
}

const char *exn_context_cpu(const exn_context *ctx) {
    return ctx->cpu;
}

/* ---- Failures and log ---- */

const char *exn_context_error(const exn_context *ctx) {
    return ctx != NULL ? ctx->message : "";
}

void exn_context_copy_error(char out[EXN_MESSAGE_BYTES], exn_context *ctx) {
    pthread_mutex_lock(&ctx->lock);
    memcpy(out, ctx->message, sizeof ctx->message);
    pthread_mutex_unlock(&ctx->lock);
}

exn_status exn_fail(exn_context *ctx, exn_status status, const char *format, ...) {
    if (ctx == NULL) return status;
    char text[EXN_MESSAGE_BYTES]; /* formatted aside: the arguments may point into the old message */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&ctx->lock);
    memcpy(ctx->message, text, strlen(text) + 1);
    pthread_mutex_unlock(&ctx->lock);
    return status;
}

exn_status exn_fail_in(exn_context *ctx, exn_status status, const char *format, ...) {
    if (ctx == NULL) return status;
    char text[EXN_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&ctx->lock);
    size_t used = strlen(text);
    const int wanted = snprintf(text + used, sizeof text - used, ": %s", ctx->message);
    used = wanted < 0 ? used : strlen(text);
    memcpy(ctx->message, text, used + 1);
    pthread_mutex_unlock(&ctx->lock);
    return status;
}

void exn_log(exn_context *ctx, exn_log_level level, const char *format, ...) {
    if (ctx == NULL || ctx->log == NULL) return;
    char text[EXN_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ctx->log(ctx->log_user, level, text);
}

/* ---- Memory ---- */

void *exn_malloc_aligned(exn_context *ctx, size_t count, size_t size, size_t alignment) {
    size_t bytes = 0;
    void *block = NULL;
    const bool known = exn_size_mul(&bytes, count, size);
    if (known && bytes > ctx->limits.block_bytes) {
        exn_fail(ctx, EXN_E_NOMEM, "%zu bytes wanted at once; the context's limit is %zu", bytes,
                 ctx->limits.block_bytes);
        return NULL;
    }
    if (known) block = ctx->allocator.allocate(ctx->allocator.user, bytes > 0 ? bytes : 1, alignment);
    if (block == NULL) exn_fail(ctx, EXN_E_NOMEM, "out of memory: %zu x %zu bytes", count, size);
    return block;
}

void *exn_malloc(exn_context *ctx, size_t count, size_t size) {
    return exn_malloc_aligned(ctx, count, size, EXN_ALIGNMENT);
}

void *exn_calloc(exn_context *ctx, size_t count, size_t size) {
    void *block = exn_malloc(ctx, count, size);
    return block != NULL ? memset(block, 0, count * size) : NULL;
}

void exn_free(exn_context *ctx, void *block) {
    if (block != NULL) ctx->allocator.release(ctx->allocator.user, block);
}

exn_status exn_grow(exn_context *ctx, void **block, size_t *capacity, size_t wanted, size_t size) {
    if (wanted <= *capacity) return EXN_OK;
    size_t larger = *capacity > SIZE_MAX / 2 ? wanted : *capacity * 2;
    if (larger < 8) larger = 8;
    if (larger < wanted) larger = wanted;
    char *fresh = exn_malloc(ctx, larger, size);
    if (fresh == NULL) return EXN_E_NOMEM;
    const size_t kept = *capacity * size;
    if (kept > 0) memcpy(fresh, *block, kept);
    memset(fresh + kept, 0, larger * size - kept);
    exn_free(ctx, *block);
    *block = fresh;
    *capacity = larger;
    return EXN_OK;
}

char *exn_strndup(exn_context *ctx, const char *text, size_t bytes) {
    size_t room = 0;
    char *copy = exn_size_add(&room, bytes, 1) ? exn_malloc(ctx, room, 1) : NULL;
    if (copy == NULL) return NULL;
    if (bytes > 0) memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

char *exn_strdup(exn_context *ctx, const char *text) {
    return exn_strndup(ctx, text, strlen(text));
}

double exn_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
