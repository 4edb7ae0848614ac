/* SPDX-License-Identifier: Apache-2.0
 * Photos: what the decoders make of JPEG files that cameras and strangers write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "tests/unit/unit.h"
#include "tools/dataset.h"

enum { WIDTH = 24, HEIGHT = 16, CORNER = 230 };

/* One picture file in a folder that vanishes. */
typedef struct desk {
    exn_context *ctx;
    char *folder, *path;
} desk;

static desk open_desk(void) {
    desk d = {.ctx = unit_context(), .folder = unit_temp_create()};
    d.path = unit_path(d.folder, "photo.jpg");
    return d;
}

static void close_desk(desk *d) {
    free(d->path);
    unit_temp_remove(d->folder);
    exn_context_destroy(d->ctx);
}

/* Black but for a bright block in the upper left corner; as CMYK, inverted as Adobe writes it. */
static void fill(uint8_t *row, size_t y, int components) {
    for (size_t x = 0; x < WIDTH; x++)
        for (int c = 0; c < components; c++) {
            const bool bright = x < 8 && y < 8;
            row[x * (size_t)components + (size_t)c] = bright ? CORNER : c == 3 ? CORNER : 0;
        }
}

/* A TIFF block with one entry: the orientation. */
static void write_exif(struct jpeg_compress_struct *jpeg, uint8_t orientation) {
    uint8_t exif[] = {'E',  'x',  'i', 'f', 0, 0, 'I', 'I', 42,          0, 8, 0, 0, 0, 1, 0,
                      0x12, 0x01, 3,   0,   1, 0, 0,   0,   orientation, 0, 0, 0, 0, 0, 0, 0};
    jpeg_write_marker(jpeg, JPEG_APP0 + 1, exif, sizeof exif);
}

static void write_jpeg(const char *path, J_COLOR_SPACE space, int components, uint8_t orientation) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = WIDTH;
    jpeg.image_height = HEIGHT;
    jpeg.in_color_space = space;
    jpeg.input_components = components;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    if (orientation > 0) write_exif(&jpeg, orientation);
    uint8_t row[WIDTH * 4], *rows[1] = {row};
    while (jpeg.next_scanline < jpeg.image_height) {
        fill(row, jpeg.next_scanline, components);
        jpeg_write_scanlines(&jpeg, rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    fclose(file);
}

static int grey_at(const exn_picture *picture, size_t x, size_t y, size_t c) {
    return picture->pixels[(y * picture->width + x) * picture->channels + c];
}

START_TEST(colour_spaces) {
    desk d = open_desk();
    const struct {
        J_COLOR_SPACE space;
        int components;
        size_t channels;
    } kinds[] = {{JCS_GRAYSCALE, 1, 1}, {JCS_RGB, 3, 3}, {JCS_CMYK, 4, 3}};
    for (size_t k = 0; k < 3; k++) {
        exn_picture picture = {0};
        write_jpeg(d.path, kinds[k].space, kinds[k].components, 0);
        unit_assert_ok(d.ctx, exn_picture_load(&picture, d.ctx, d.path, 0));
        ck_assert_uint_eq(picture.channels, kinds[k].channels);
        ck_assert_uint_eq(picture.width, WIDTH);
        ck_assert_uint_eq(picture.height, HEIGHT);
        for (size_t c = 0; c < picture.channels; c++) {
            ck_assert_int_gt(grey_at(&picture, 3, 3, c), 190);
            ck_assert_int_lt(grey_at(&picture, 20, 12, c), 20);
        }
        exn_picture_free(&picture, d.ctx);
    }
    close_desk(&d);
}
END_TEST

/* Never to less than twice the side that is asked for; what is left is the mean of what was there. */
START_TEST(large_files_are_shrunk) {
    desk d = open_desk();
    const struct {
        size_t side, width;
    } wishes[] = {{0, WIDTH}, {8, WIDTH}, {5, WIDTH}, {4, WIDTH / 2}, {2, WIDTH / 4}, {1, WIDTH / 8}};
    write_jpeg(d.path, JCS_GRAYSCALE, 1, 0);
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        exn_picture picture = {0};
        unit_assert_ok(d.ctx, exn_picture_load(&picture, d.ctx, d.path, wishes[i].side));
        ck_assert_uint_eq(picture.width, wishes[i].width);
        ck_assert_uint_eq(picture.height, HEIGHT * picture.width / WIDTH);
        ck_assert_int_gt(grey_at(&picture, 0, 0, 0), 200);
        ck_assert_int_lt(grey_at(&picture, picture.width - 1, picture.height - 1, 0), 30);
        exn_picture_free(&picture, d.ctx);
    }
    close_desk(&d);
}
END_TEST

/* Where EXIF says the stored upper left corner belongs, orientation by orientation. */
START_TEST(orientation_is_applied) {
    desk d = open_desk();
    const bool right[] = {false, true, true, false, false, true, true, false};
    const bool bottom[] = {false, false, true, true, false, false, true, true};
    for (uint8_t orientation = 1; orientation <= 8; orientation++) {
        exn_picture picture = {0};
        write_jpeg(d.path, JCS_GRAYSCALE, 1, orientation);
        unit_assert_ok(d.ctx, exn_picture_load(&picture, d.ctx, d.path, 0));
        ck_assert_uint_eq(picture.width, orientation >= 5 ? HEIGHT : WIDTH);
        ck_assert_uint_eq(picture.height, orientation >= 5 ? WIDTH : HEIGHT);
        for (int corner = 0; corner < 4; corner++) {
            const bool at_right = corner & 1, at_bottom = corner & 2;
            const int grey = grey_at(&picture, at_right ? picture.width - 3 : 2, at_bottom ? picture.height - 3 : 2, 0);
            if (at_right == right[orientation - 1] && at_bottom == bottom[orientation - 1])
                ck_assert_int_gt(grey, 200);
            else
                ck_assert_int_lt(grey, 30);
        }
        exn_picture_free(&picture, d.ctx);
    }
    close_desk(&d);
}
END_TEST

/* Every truncation that loses pixels is refused; the message names the file. */
START_TEST(truncations_are_refused) {
    desk d = open_desk();
    write_jpeg(d.path, JCS_RGB, 3, 6);
    uint8_t bytes[65536];
    FILE *file = fopen(d.path, "rb");
    const size_t whole = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t length = 0; length + 8 < whole; length += 7) {
        unit_write_file(d.path, bytes, length);
        exn_picture picture = {0};
        unit_assert_fails(d.ctx, exn_picture_load(&picture, d.ctx, d.path, 0), EXN_E_FORMAT, d.path);
    }
    close_desk(&d);
}
END_TEST

static exn_status load_and_free(exn_context *ctx, void *user) {
    exn_picture picture = {0};
    EXN_TRY(exn_picture_load(&picture, ctx, user, 0));
    exn_picture_free(&picture, ctx);
    return EXN_OK;
}

START_TEST(memory_may_be_short) {
    desk d = open_desk();
    write_jpeg(d.path, JCS_RGB, 3, 6);
    unit_sweep_failures(load_and_free, d.path);
    close_desk(&d);
}
END_TEST

/* Photos decoded side by side are those decoded one by one, a damaged one among them. */
START_TEST(photos_ahead) {
    enum { PHOTOS = 7, DAMAGED = 3, SKIPPED = 5 };
    desk d = open_desk();
    for (int i = 0; i < PHOTOS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.jpg", i);
        char *path = unit_path(d.folder, name);
        write_jpeg(path, JCS_GRAYSCALE, 1, (uint8_t)(i + 1));
        if (i == DAMAGED) unit_write_file(path, "\xff\xd8\xff", 3);
        free(path);
    }
    exn_dataset *plain = NULL, *ahead = NULL;
    const bool skip[PHOTOS] = {[SKIPPED] = true};
    unit_assert_ok(d.ctx, exn_dataset_open(&plain, d.ctx, d.folder, NULL, 0));
    unit_assert_ok(d.ctx, exn_dataset_open(&ahead, d.ctx, d.folder, NULL, 0));
    unit_assert_ok(d.ctx, exn_dataset_read_ahead(ahead, 3, skip));
    for (size_t i = 0; i < PHOTOS; i++) {
        exn_datum one, other;
        if (skip[i]) continue;
        if (i == DAMAGED) {
            unit_assert_fails(d.ctx, exn_dataset_read(&other, ahead, i), EXN_E_FORMAT, "3.jpg");
            continue;
        }
        unit_assert_ok(d.ctx, exn_dataset_read(&one, plain, i));
        unit_assert_ok(d.ctx, exn_dataset_read(&other, ahead, i));
        ck_assert_uint_eq(one.image.width, other.image.width);
        ck_assert_uint_eq(one.image.height, other.image.height);
        ck_assert_mem_eq(one.image.pixels, other.image.pixels, one.image.width * one.image.height);
    }
    exn_dataset_close(plain);
    exn_dataset_close(ahead);
    close_desk(&d);
}
END_TEST

START_TEST(exif_is_bounded) {
    const uint8_t good[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0};
    ck_assert_uint_eq(exn_exif_orientation(good, sizeof good), 6);
    for (size_t count = 0; count < sizeof good - 2; count++) {
        uint8_t *part = malloc(count + 1); /* exact size: a sanitizer sees any step beyond it */
        memcpy(part, good, count);
        ck_assert_uint_eq(exn_exif_orientation(part, count), 1);
        free(part);
    }
    uint8_t far_away[sizeof good];
    memcpy(far_away, good, sizeof good);
    far_away[4] = 0xff;
    ck_assert_uint_eq(exn_exif_orientation(far_away, sizeof far_away), 1);
}
END_TEST

int main(void) {
    return unit_run("image", (const TTest *const[]){colour_spaces, large_files_are_shrunk, orientation_is_applied,
                                                    truncations_are_refused, memory_may_be_short, photos_ahead,
                                                    exif_is_bounded, NULL});
}
