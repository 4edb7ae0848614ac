/* SPDX-License-Identifier: Apache-2.0
 * JPEG through libjpeg: its errors come back by longjmp, nothing is printed. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "tools/image.h"

enum { EXIF_MARKER = JPEG_APP0 + 1, EXIF_PREFIX_BYTES = 6, SCANS_MAX = 200 };

typedef struct jpeg_job {
    struct jpeg_error_mgr errors; /* first: libjpeg hands its address back */
    struct jpeg_progress_mgr monitor;
    struct jpeg_decompress_struct jpeg;
    jmp_buf escape;
    char message[JMSG_LENGTH_MAX];
} jpeg_job;

static void give_up(j_common_ptr jpeg) {
    jpeg_job *job = (jpeg_job *)jpeg->err;
    job->errors.format_message(jpeg, job->message);
    longjmp(job->escape, 1);
}

static void print_nothing(j_common_ptr jpeg) {
    (void)jpeg;
}

/* Warnings that mean lost picture data are errors here; oddities that many cameras write are not. */
static void judge_warning(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    const int code = jpeg->err->msg_code;
    if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC)
        give_up(jpeg);
}

/* A few bytes of progressive JPEG can ask for scans without end. */
static void limit_scans(j_common_ptr jpeg) {
    if (jpeg->is_decompressor && ((j_decompress_ptr)jpeg)->input_scan_number > SCANS_MAX) {
        jpeg_job *job = (jpeg_job *)jpeg->err;
        snprintf(job->message, sizeof job->message, "more than %d scans", SCANS_MAX);
        longjmp(job->escape, 1);
    }
}

static unsigned read_orientation(const struct jpeg_decompress_struct *jpeg) {
    for (const struct jpeg_marker_struct *m = jpeg->marker_list; m != NULL; m = m->next)
        if (m->marker == EXIF_MARKER && m->data_length > EXIF_PREFIX_BYTES &&
            memcmp(m->data, "Exif\0", EXIF_PREFIX_BYTES) == 0)
            return exn_exif_orientation(m->data + EXIF_PREFIX_BYTES, m->data_length - EXIF_PREFIX_BYTES);
    return 1;
}

/* Four inks to three lights, in place at the row's start. Adobe's files hold inks inverted. */
static void cmyk_to_rgb(uint8_t *rgb, const uint8_t *cmyk, size_t width, bool inverted) {
    for (size_t x = 0; x < width; x++)
        for (size_t c = 0; c < 3; c++) {
            const unsigned ink = cmyk[4 * x + c], black = cmyk[4 * x + 3];
            rgb[3 * x + c] = (uint8_t)(((inverted ? ink * black : (255 - ink) * (255 - black)) + 127) / 255);
        }
}

static exn_status read_rows(exn_picture *out, jpeg_job *job, exn_context *ctx) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    const bool cmyk = jpeg->out_color_space == JCS_CMYK;
    EXN_TRY(exn_picture_allocate(out, ctx, jpeg->output_width, jpeg->output_height,
                                 cmyk ? 3 : (size_t)jpeg->output_components));
    const size_t row_bytes = out->width * out->channels;
    JSAMPARRAY inks = NULL;
    if (cmyk) inks = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, (JDIMENSION)(4 * out->width), 1);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *row = out->pixels + jpeg->output_scanline * row_bytes;
        jpeg_read_scanlines(jpeg, cmyk ? inks : &row, 1);
        if (cmyk) cmyk_to_rgb(row, inks[0], out->width, jpeg->saw_Adobe_marker);
    }
    return EXN_OK;
}

/* The library shrinks blocks of 8x8 pixels as it decodes them: less to decode, to keep and to resize. */
static unsigned shrink(const struct jpeg_decompress_struct *jpeg, size_t side) {
    const size_t shorter = jpeg->image_width < jpeg->image_height ? jpeg->image_width : jpeg->image_height;
    unsigned by = side > 0 ? 8 : 1;
    while (by > 1 && shorter / by / 2 < side) by /= 2;
    return by;
}

static exn_status decode(exn_picture *out, unsigned *orientation, jpeg_job *job, exn_context *ctx, const uint8_t *bytes,
                         size_t count, size_t side) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    if (setjmp(job->escape) != 0) return exn_fail(ctx, EXN_E_FORMAT, "JPEG: %s", job->message);
    jpeg_create_decompress(jpeg);
    jpeg->progress = &job->monitor;
    jpeg_mem_src(jpeg, bytes, (unsigned long)count);
    jpeg_save_markers(jpeg, EXIF_MARKER, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    if ((size_t)jpeg->image_width * jpeg->image_height > EXN_PICTURE_PIXELS_MAX)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "a picture of %ux%u pixels; the limit is %zu", jpeg->image_width,
                        jpeg->image_height, EXN_PICTURE_PIXELS_MAX);
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE:
        jpeg->out_color_space = JCS_GRAYSCALE;
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        jpeg->out_color_space = JCS_CMYK;
        break;
    default:
        jpeg->out_color_space = JCS_RGB;
        break;
    }
    *orientation = read_orientation(jpeg);
    jpeg->scale_denom = shrink(jpeg, side);
    jpeg_start_decompress(jpeg);
    EXN_TRY(read_rows(out, job, ctx));
    jpeg_finish_decompress(jpeg);
    return EXN_OK;
}

exn_status exn_jpeg_decode(exn_picture *out, unsigned *orientation, exn_context *ctx, const uint8_t *bytes,
                           size_t count, size_t side) {
    jpeg_job *job = exn_calloc(ctx, 1, sizeof *job);
    if (job == NULL) return EXN_E_NOMEM;
    job->jpeg.err = jpeg_std_error(&job->errors);
    job->errors.error_exit = give_up;
    job->errors.output_message = print_nothing;
    job->errors.emit_message = judge_warning;
    job->monitor.progress_monitor = limit_scans;
    const exn_status status = decode(out, orientation, job, ctx, bytes, count, side);
    jpeg_destroy_decompress(&job->jpeg);
    exn_free(ctx, job);
    return status;
}
