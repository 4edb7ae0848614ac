/* SPDX-License-Identifier: Apache-2.0
 * A photo: decoded, turned upright, brought to a network's input. */
#include "graph/preprocess.h"
#include "tests/fuzz/fuzz.h"
#include "tools/image.h"

enum { SIDE = 9, RESIZED_MAX = 1 << 20 };

/* As a network of three channels and one of one see it. */
static void see(const exn_image *image) {
    exn_context *ctx = fuzz_context();
    exn_resizer *resizer = NULL;
    float hwc[SIDE * SIDE * 3];
    const exn_preprocess colour = {.size = SIDE + 2}, grey = {.order = EXN_ORDER_GRAY};
    fuzz_assert(exn_resizer_create(&resizer, ctx) == EXN_OK);
    exn_preprocess complete = colour;
    fuzz_assert(exn_preprocess_complete(&complete, ctx, SIDE, SIDE) == EXN_OK);
    exn_preprocess_image(hwc, resizer, image, &complete, SIDE, SIDE, 3);
    complete = grey;
    fuzz_assert(exn_preprocess_complete(&complete, ctx, SIDE, SIDE) == EXN_OK);
    exn_preprocess_image(hwc, resizer, image, &complete, SIDE, SIDE, 1);
    exn_resizer_destroy(resizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    exn_context *ctx = fuzz_context();
    const size_t live = fuzz_live();
    exn_picture picture = {0};
    if (exn_picture_load(&picture, ctx, fuzz_file(0, "photo", bytes, size), size % 64) == EXN_OK) {
        const exn_image image = exn_picture_view(&picture);
        if (image.width * image.height <= RESIZED_MAX) see(&image);
        exn_picture_free(&picture, ctx);
    } else {
        fuzz_assert(picture.pixels == NULL && exn_context_error(ctx)[0] != '\0');
    }
    fuzz_assert_live(live);
    return 0;
}
