/* SPDX-License-Identifier: Apache-2.0
 * Preprocessing as a filter for preprocess.py: pixels in, float32 grey levels (height, width, channels) out.
 * Arguments: width height channels size crop_height crop_width out_channels. */
#include "graph/preprocess.h"

#include <stdio.h>
#include <stdlib.h>

static exn_status filter(exn_context *ctx, const size_t n[7]) {
    const size_t in = n[0] * n[1] * n[2], out = n[4] * n[5] * n[6];
    uint8_t *pixels = exn_malloc(ctx, in, 1);
    float *levels = exn_malloc(ctx, out, sizeof *levels);
    exn_resizer *resizer = NULL;
    exn_status status = pixels && levels ? exn_resizer_create(&resizer, ctx) : EXN_E_NOMEM;
    const exn_image image = {.pixels = pixels, .width = n[0], .height = n[1], .channels = n[2]};
    const exn_preprocess how = {
        .size = n[3], .deviation = {1, 1, 1}, .order = n[6] == 1 ? EXN_ORDER_GRAY : EXN_ORDER_RGB};
    if (status == EXN_OK && fread(pixels, 1, in, stdin) != in) status = exn_fail(ctx, EXN_E_IO, "too few pixels");
    if (status == EXN_OK) status = exn_preprocess_image(levels, resizer, &image, &how, n[4], n[5], n[6]);
    if (status == EXN_OK && fwrite(levels, sizeof *levels, out, stdout) != out)
        status = exn_fail(ctx, EXN_E_IO, "cannot write");
    exn_resizer_destroy(resizer);
    exn_free(ctx, levels);
    exn_free(ctx, pixels);
    return status;
}

int main(int argc, char **argv) {
    size_t n[7];
    if (argc != 8) return 2;
    for (int i = 0; i < 7; i++) n[i] = strtoul(argv[i + 1], NULL, 10);
    exn_context *ctx;
    if (exn_context_create(&ctx, NULL) != EXN_OK) return 1;
    const exn_status status = filter(ctx, n);
    if (status != EXN_OK) fprintf(stderr, "%s\n", exn_context_error(ctx));
    exn_context_destroy(ctx);
    return status == EXN_OK ? 0 : 1;
}
