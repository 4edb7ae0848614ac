/* SPDX-License-Identifier: Apache-2.0
 * The context as the library's own folders see it: memory, errors, log, thread count, kernel-set wish. */
#ifndef EXN_CORE_CONTEXT_H
#define EXN_CORE_CONTEXT_H

#include "core/include/exeunt/exeunt.h"

/* Every allocation of the library is aligned to this: a cache line, and the widest vector. */
#define EXN_ALIGNMENT 64u
#define EXN_MESSAGE_BYTES 1024u
#define EXN_THREADS_MAX 256u

#if defined(__GNUC__)
#define EXN_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define EXN_PRINTF(text, first)
#endif

/* Zeroed memory for count * size bytes, EXN_ALIGNMENT aligned; NULL if the product overflows or memory is short.
 * A count or size of zero gives a block that may be freed. Records EXN_E_NOMEM's message on failure. */
void *exn_calloc(exn_context *ctx, size_t count, size_t size);
/* The same without clearing. */
void *exn_malloc(exn_context *ctx, size_t count, size_t size);
/* The same at a larger alignment, a power of two. */
void *exn_malloc_aligned(exn_context *ctx, size_t count, size_t size, size_t alignment);
/* Grows *block from *capacity to at least `wanted` elements, doubling; new elements are zero. */
exn_status exn_grow(exn_context *ctx, void **block, size_t *capacity, size_t wanted, size_t size);
void exn_free(exn_context *ctx, void *block);
char *exn_strdup(exn_context *ctx, const char *text);
/* Copy of `bytes` bytes plus a NUL. */
char *exn_strndup(exn_context *ctx, const char *text, size_t bytes);

/* Records the message and returns `status`, so that a failing line reads `return exn_fail(ctx, EXN_E_SHAPE, ...)`.
 * Safe from several threads; the last failure wins. ctx may be NULL. */
exn_status exn_fail(exn_context *ctx, exn_status status, const char *format, ...) EXN_PRINTF(3, 4);
/* Puts "where: " in front of the recorded message, as an outer caller that knows the file or node. Returns status. */
exn_status exn_fail_in(exn_context *ctx, exn_status status, const char *format, ...) EXN_PRINTF(3, 4);
/* The recorded message, safe while other threads fail, which reading exn_context_error is not. */
void exn_context_copy_error(char out[EXN_MESSAGE_BYTES], exn_context *ctx);
void exn_log(exn_context *ctx, exn_log_level level, const char *format, ...) EXN_PRINTF(3, 4);

/* Copies a public options struct (struct_size first) into *out, which is of this library's size: fields that an older
 * caller does not have become zero, NULL gives all zeros. EXN_E_INVALID where struct_size cannot be true,
 * EXN_E_UNSUPPORTED where a field that only a newer library knows is not zero. Sets out's struct_size to out_bytes. */
exn_status exn_options_read(void *out, size_t out_bytes, exn_context *ctx, const void *options);
/* Copies a result into a caller's struct, whose struct_size says how much room there is and stays; fields that only a
 * newer caller knows become zero. EXN_E_INVALID where struct_size cannot be true. */
exn_status exn_result_write(void *out, exn_context *ctx, const void *result, size_t result_bytes);

size_t exn_context_threads(const exn_context *ctx);
/* What the options allow, defaults filled in. */
typedef struct exn_limits {
    size_t block_bytes, file_bytes, nodes, elements;
} exn_limits;
#define EXN_NODES_USUAL ((size_t)1 << 16)
#define EXN_NODES_MOST ((size_t)1 << 24) /* indices of 32 bits, and 64 numbers a node */
#define EXN_ELEMENTS_MAX ((size_t)1 << 31)
const exn_limits *exn_context_limits(const exn_context *ctx);
/* The kernel set asked for by options or EXN_CPU; NULL: the best. */
const char *exn_context_cpu(const exn_context *ctx);

#define EXN_TRY(expression)                                                                                            \
    do {                                                                                                               \
        const exn_status try_status = (expression);                                                                    \
        if (try_status != EXN_OK) return try_status;                                                                   \
    } while (0)

/* Checked size arithmetic: false on overflow, then *out is untouched. */
bool exn_size_mul(size_t *out, size_t a, size_t b);
bool exn_size_add(size_t *out, size_t a, size_t b);
/* bytes rounded up to EXN_ALIGNMENT; SIZE_MAX where that overflows. */
size_t exn_round_up(size_t bytes);
/* Seconds of a monotonic clock. */
double exn_now(void);

#endif
