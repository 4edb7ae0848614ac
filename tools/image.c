/* SPDX-License-Identifier: Apache-2.0
 * Photos from files: which decoder, and which way up. */
#include "tools/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void exn_picture_free(exn_picture *picture, exn_context *ctx) {
    exn_free(ctx, picture->pixels);
    memset(picture, 0, sizeof *picture);
}

exn_image exn_picture_view(const exn_picture *picture) {
    return (exn_image){picture->pixels, picture->width, picture->height, picture->channels, 0};
}

exn_status exn_picture_allocate(exn_picture *out, exn_context *ctx, size_t width, size_t height, size_t channels) {
    if (width == 0 || height == 0 || width > EXN_PICTURE_SIDE_MAX || height > EXN_PICTURE_SIDE_MAX ||
        width * height > EXN_PICTURE_PIXELS_MAX)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "a picture of %zux%zu pixels; the limit is %u a side, %zu in all",
                        width, height, EXN_PICTURE_SIDE_MAX, EXN_PICTURE_PIXELS_MAX);
    out->pixels = exn_malloc(ctx, width * height, channels);
    if (out->pixels == NULL) return EXN_E_NOMEM;
    out->width = width;
    out->height = height;
    out->channels = channels;
    return EXN_OK;
}

exn_status exn_file_open(int *out, exn_context *ctx, const char *path) {
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return exn_fail(ctx, EXN_E_IO, "%s: %s", path, strerror(errno));
    struct stat info;
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(file);
        return exn_fail(ctx, EXN_E_IO, "%s: not a regular file", path);
    }
    *out = file;
    return EXN_OK;
}

exn_status exn_file_read(uint8_t **out, size_t *bytes, exn_context *ctx, const char *path, size_t most_bytes) {
    int descriptor = -1;
    EXN_TRY(exn_file_open(&descriptor, ctx, path));
    FILE *file = fdopen(descriptor, "rb");
    if (file == NULL) {
        close(descriptor);
        return exn_fail(ctx, EXN_E_NOMEM, "%s: out of memory", path);
    }
    struct stat info;
    exn_status status = EXN_OK;
    uint8_t *block = NULL;
    if (fstat(descriptor, &info) != 0)
        status = exn_fail(ctx, EXN_E_IO, "%s: %s", path, strerror(errno));
    else if ((uint64_t)info.st_size > most_bytes)
        status = exn_fail(ctx, EXN_E_UNSUPPORTED, "%s: larger than %zu bytes", path, most_bytes);
    else if ((block = exn_malloc(ctx, (size_t)info.st_size + 1, 1)) == NULL)
        status = EXN_E_NOMEM;
    else if (fread(block, 1, (size_t)info.st_size, file) != (size_t)info.st_size)
        status = exn_fail(ctx, EXN_E_IO, "%s: cannot be read", path);
    fclose(file);
    if (status != EXN_OK) {
        exn_free(ctx, block);
        return status;
    }
    block[info.st_size] = 0;
    *out = block;
    *bytes = (size_t)info.st_size;
    return EXN_OK;
}

static unsigned tiff_u16(const uint8_t *at, bool big) {
    return big ? (unsigned)at[0] << 8 | at[1] : (unsigned)at[1] << 8 | at[0];
}

static size_t tiff_u32(const uint8_t *at, bool big) {
    return big ? (size_t)tiff_u16(at, big) << 16 | tiff_u16(at + 2, big)
               : (size_t)tiff_u16(at + 2, big) << 16 | tiff_u16(at, big);
}

unsigned exn_exif_orientation(const uint8_t *tiff, size_t count) {
    enum { ORIENTATION_TAG = 0x0112, ENTRY_BYTES = 12 };
    if (count < 8 || tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M')) return 1;
    const bool big = tiff[0] == 'M';
    const size_t directory = tiff_u32(tiff + 4, big);
    if (tiff_u16(tiff + 2, big) != 42 || directory > count - 2) return 1;
    const size_t entries = tiff_u16(tiff + directory, big);
    for (size_t i = 0; i < entries && directory + 2 + (i + 1) * ENTRY_BYTES <= count; i++) {
        const uint8_t *entry = tiff + directory + 2 + i * ENTRY_BYTES;
        if (tiff_u16(entry, big) != ORIENTATION_TAG) continue;
        const unsigned value = tiff_u16(entry + 8, big);
        return value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}

/* Where pixel (x, y) of the upright picture lies in the stored one of w x h. */
static size_t stored_index(unsigned orientation, size_t x, size_t y, size_t w, size_t h) {
    switch (orientation) {
    case 2:
        return y * w + (w - 1 - x);
    case 3:
        return (h - 1 - y) * w + (w - 1 - x);
    case 4:
        return (h - 1 - y) * w + x;
    case 5:
        return x * w + y;
    case 6:
        return (h - 1 - x) * w + y;
    case 7:
        return (h - 1 - x) * w + (w - 1 - y);
    case 8:
        return x * w + (w - 1 - y);
    default:
        return y * w + x;
    }
}

static exn_status turn_upright(exn_picture *picture, exn_context *ctx, unsigned orientation) {
    if (orientation == 1) return EXN_OK;
    const bool swapped = orientation >= 5;
    exn_picture upright = {0};
    EXN_TRY(exn_picture_allocate(&upright, ctx, swapped ? picture->height : picture->width,
                                 swapped ? picture->width : picture->height, picture->channels));
    uint8_t *to = upright.pixels;
    for (size_t y = 0; y < upright.height; y++)
        for (size_t x = 0; x < upright.width; x++) {
            const size_t from = stored_index(orientation, x, y, picture->width, picture->height);
            for (size_t c = 0; c < picture->channels; c++) *to++ = picture->pixels[from * picture->channels + c];
        }
    exn_picture_free(picture, ctx);
    *picture = upright;
    return EXN_OK;
}

exn_status exn_picture_load(exn_picture *out, exn_context *ctx, const char *path, size_t side) {
    static const uint8_t jpeg_magic[] = {0xff, 0xd8, 0xff}, png_magic[] = {0x89, 'P', 'N', 'G', 0x0d, 0x0a, 0x1a, 0x0a};
    uint8_t *bytes = NULL;
    size_t count = 0;
    EXN_TRY(exn_file_read(&bytes, &count, ctx, path, EXN_PICTURE_FILE_BYTES_MAX));
    exn_picture picture = {0};
    unsigned orientation = 1;
    exn_status status;
    if (count >= sizeof jpeg_magic && memcmp(bytes, jpeg_magic, sizeof jpeg_magic) == 0)
        status = exn_jpeg_decode(&picture, &orientation, ctx, bytes, count, side);
    else if (count >= sizeof png_magic && memcmp(bytes, png_magic, sizeof png_magic) == 0)
        status = exn_png_decode(&picture, &orientation, ctx, bytes, count);
    else
        status = exn_fail(ctx, EXN_E_FORMAT, count == 0 ? "the file is empty" : "neither JPEG nor PNG");
    exn_free(ctx, bytes);
    if (status == EXN_OK) status = turn_upright(&picture, ctx, orientation);
    if (status != EXN_OK) {
        exn_picture_free(&picture, ctx);
        return exn_fail_in(ctx, status, "%s", path);
    }
    *out = picture;
    return EXN_OK;
}
