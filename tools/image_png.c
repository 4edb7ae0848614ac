/* SPDX-License-Identifier: Apache-2.0
 * PNG through libpng: its errors come back by longjmp, nothing is printed. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "tools/image.h"

typedef struct png_job {
    const uint8_t *bytes;
    size_t left;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    char message[128];
} png_job;

static void give_up(png_structp png, png_const_charp message) {
    png_job *job = png_get_error_ptr(png);
    snprintf(job->message, sizeof job->message, "%s", message);
    png_longjmp(png, 1);
}

static void print_nothing(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void give_bytes(png_structp png, png_bytep out, size_t count) {
    png_job *job = png_get_io_ptr(png);
    if (count > job->left) png_error(png, "ends too early");
    memcpy(out, job->bytes, count);
    job->bytes += count;
    job->left -= count;
}

/* Whatever is stored becomes 8-bit grey or RGB. */
static void ask_for_bytes(png_job *job) {
    const int colour = png_get_color_type(job->png, job->info);
    if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(job->png);
    if (colour == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(job->png);
    png_set_scale_16(job->png);
    png_set_strip_alpha(job->png);
    png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
}

static exn_status decode(exn_picture *out, unsigned *orientation, png_job *job, exn_context *ctx) {
    if (setjmp(png_jmpbuf(job->png)) != 0) return exn_fail(ctx, EXN_E_FORMAT, "PNG: %s", job->message);
    png_set_user_limits(job->png, EXN_PICTURE_SIDE_MAX, EXN_PICTURE_SIDE_MAX);
    png_set_chunk_malloc_max(job->png, 16u << 20);
    png_set_read_fn(job->png, job, give_bytes);
    png_read_info(job->png, job->info);
    ask_for_bytes(job);
    EXN_TRY(exn_picture_allocate(out, ctx, png_get_image_width(job->png, job->info),
                                 png_get_image_height(job->png, job->info), png_get_channels(job->png, job->info)));
    job->rows = exn_malloc(ctx, out->height, sizeof *job->rows);
    if (job->rows == NULL) return EXN_E_NOMEM;
    for (size_t y = 0; y < out->height; y++) job->rows[y] = out->pixels + y * out->width * out->channels;
    png_read_image(job->png, job->rows);
    png_read_end(job->png, job->info);
    png_uint_32 exif_bytes = 0;
    png_bytep exif = NULL;
    if (png_get_eXIf_1(job->png, job->info, &exif_bytes, &exif) != 0)
        *orientation = exn_exif_orientation(exif, exif_bytes);
    return EXN_OK;
}

exn_status exn_png_decode(exn_picture *out, unsigned *orientation, exn_context *ctx, const uint8_t *bytes,
                          size_t count) {
    png_job *job = exn_calloc(ctx, 1, sizeof *job);
    if (job == NULL) return EXN_E_NOMEM;
    job->bytes = bytes;
    job->left = count;
    job->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, job, give_up, print_nothing);
    if (job->png != NULL) job->info = png_create_info_struct(job->png);
    const exn_status status =
        job->info == NULL ? exn_fail(ctx, EXN_E_NOMEM, "PNG: out of memory") : decode(out, orientation, job, ctx);
    png_destroy_read_struct(&job->png, &job->info, NULL);
    exn_free(ctx, job->rows);
    exn_free(ctx, job);
    return status;
}
