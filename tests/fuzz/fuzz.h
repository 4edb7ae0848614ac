/* SPDX-License-Identifier: Apache-2.0
 * What fuzz targets share: a context that grants little memory and notices leaks, files in a private folder, inputs. */
#ifndef EXN_TESTS_FUZZ_FUZZ_H
#define EXN_TESTS_FUZZ_FUZZ_H

#include "core/context.h"

/* What the library may hold at a time; beyond it every allocation fails. */
#define FUZZ_BYTES_MAX ((size_t)256 << 20)

/* The entry point that libFuzzer, or replay.c, calls with one input. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* The only context of the process; made on first use, never destroyed. */
exn_context *fuzz_context(void);
/* Blocks that the context's allocator has given and not got back. */
size_t fuzz_live(void);
/* Ends the process where `live` blocks are not what there is. */
void fuzz_assert_live(size_t live);
/* Ends the process, with the place, where `holds` is false. */
#define fuzz_assert(holds) fuzz_check((holds), #holds, __FILE__, __LINE__)
void fuzz_check(bool holds, const char *what, const char *file, int line);

/* A path in the process's private folder, which vanishes at exit; valid until the next call with the same slot (0 to 3). */
const char *fuzz_path(size_t slot, const char *name);
/* The same after writing these bytes there. */
const char *fuzz_file(size_t slot, const char *name, const uint8_t *bytes, size_t size);
/* A copy to change; free() it. */
uint8_t *fuzz_copy(const uint8_t *bytes, size_t size);
/* Numbers from -2 to 2.02, the same in every run. */
void fuzz_input(float *values, size_t count);

#endif
