/* SPDX-License-Identifier: Apache-2.0
 * Photos: JPEG and PNG files decoded to upright 8-bit grey or RGB pixels. */
#ifndef EXN_TOOLS_IMAGE_H
#define EXN_TOOLS_IMAGE_H

#include "core/context.h"

/* Larger pictures are refused before they are decoded. */
#define EXN_PICTURE_SIDE_MAX 32768u
#define EXN_PICTURE_PIXELS_MAX ((size_t)100 * 1000 * 1000)
#define EXN_PICTURE_FILE_BYTES_MAX ((size_t)256 << 20)

typedef struct exn_picture {
    uint8_t *pixels; /* owned; free with exn_picture_free */
    size_t width, height, channels;
} exn_picture;

/* The kind is told by the content, not by the name. EXIF orientation is applied; CMYK is converted; 16 bits are scaled to
 * 8; transparency is dropped. A damaged or truncated file is refused. Messages start with the path. A JPEG file is decoded
 * at a half, a quarter or an eighth of its size where the shorter side still is twice `side` pixels or more; 0: in full. */
exn_status exn_picture_load(exn_picture *out, exn_context *ctx, const char *path, size_t side);
void exn_picture_free(exn_picture *picture, exn_context *ctx);
/* Borrowed view for the library. */
exn_image exn_picture_view(const exn_picture *picture);
/* Opens a regular file for reading; others are refused without waiting for them, as a pipe without writer would. */
exn_status exn_file_open(int *out, exn_context *ctx, const char *path);
/* Whole file in memory, at most most_bytes; freed with exn_free. */
exn_status exn_file_read(uint8_t **out, size_t *bytes, exn_context *ctx, const char *path, size_t most_bytes);

/* The decoders: exn_picture_load chooses between them. `out` may hold pixels after a failure too. *orientation: 1..8. */
exn_status exn_jpeg_decode(exn_picture *out, unsigned *orientation, exn_context *ctx, const uint8_t *bytes,
                           size_t count, size_t side);
exn_status exn_png_decode(exn_picture *out, unsigned *orientation, exn_context *ctx, const uint8_t *bytes,
                          size_t count);
/* Checks the size against the limits above and allocates the pixels. */
exn_status exn_picture_allocate(exn_picture *out, exn_context *ctx, size_t width, size_t height, size_t channels);
/* Orientation (1..8) in a TIFF block as EXIF holds it; 1 where there is none. */
unsigned exn_exif_orientation(const uint8_t *tiff, size_t count);

#endif
