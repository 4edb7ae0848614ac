/* SPDX-License-Identifier: Apache-2.0
 * An IDX file, plain or gzipped, alone and as the images of a data set. */
#include "tests/fuzz/fuzz.h"
#include "tools/dataset.h"
#include "tools/idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    exn_context *ctx = fuzz_context();
    const size_t live = fuzz_live();
    const char *path = fuzz_file(0, "some-images-idx3-ubyte", bytes, size);
    const bool likely = exn_idx_recognise(path);
    exn_tensor tensor = {0};
    if (exn_idx_load(&tensor, ctx, path) == EXN_OK) {
        fuzz_assert(likely && tensor.dtype == EXN_U8);
        const size_t count = exn_shape_elements(&tensor.shape);
        uint64_t sum = 0;
        for (size_t i = 0; i < count; i++) sum += ((const uint8_t *)tensor.data)[i];
        fuzz_assert(sum <= (uint64_t)count * UINT8_MAX);
        exn_tensor_destroy(ctx, &tensor);
    }
    exn_dataset *data = NULL;
    if (exn_dataset_open(&data, ctx, path, NULL, 0) == EXN_OK) {
        exn_datum sample;
        uint64_t hash;
        if (exn_dataset_read(&sample, data, exn_dataset_count(data) - 1) == EXN_OK)
            fuzz_assert(exn_dataset_hash(&hash, data, 0) == EXN_OK);
        exn_dataset_close(data);
    }
    fuzz_assert_live(live);
    return 0;
}
