/* SPDX-License-Identifier: Apache-2.0
 * A .npy file: its header, and every element in slices. */
#include "tests/fuzz/fuzz.h"
#include "tools/npy.h"

enum { SLICE = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    exn_context *ctx = fuzz_context();
    const size_t live = fuzz_live();
    exn_npy *npy = NULL;
    if (exn_npy_open(&npy, ctx, fuzz_file(0, "array.npy", bytes, size)) == EXN_OK) {
        int64_t slice[SLICE];
        const size_t count = exn_shape_elements(exn_npy_shape(npy));
        fuzz_assert(count <= size);
        for (size_t first = 0; first < count; first += SLICE)
            if (exn_npy_read(npy, slice, first, count - first < SLICE ? count - first : SLICE) != EXN_OK) break;
        fuzz_assert(exn_npy_read(npy, slice, count, 1) == EXN_E_INVALID);
        exn_npy_close(npy);
    }
    fuzz_assert_live(live);
    return 0;
}
