/* SPDX-License-Identifier: Apache-2.0
 * Data sets: labels from folder names, order, splits by content, arrays and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/unit.h"
#include "tools/dataset.h"
#include "tools/npy.h"

enum { SAMPLES = 40, SIDE = 4, CLASSES = 3 };
static const char *const class_names[CLASSES] = {"0", "1", "2"};

typedef struct desk {
    exn_context *ctx;
    char *folder, *images, *labels;
} desk;

static desk open_desk(void) {
    desk d = {.ctx = unit_context(), .folder = unit_temp_create()};
    d.images = unit_path(d.folder, "my-images.npy");
    d.labels = unit_path(d.folder, "my-labels.npy");
    return d;
}

static void close_desk(desk *d) {
    free(d->images);
    free(d->labels);
    unit_temp_remove(d->folder);
    exn_context_destroy(d->ctx);
}

static void write_array(desk *d, const char *path, exn_dtype dtype, const exn_shape *shape, const void *elements) {
    exn_npy_writer *writer = NULL;
    unit_assert_ok(d->ctx, exn_npy_writer_open(&writer, d->ctx, path, dtype, shape));
    unit_assert_ok(d->ctx, exn_npy_writer_append(writer, elements, exn_shape_elements(shape)));
    unit_assert_ok(d->ctx, exn_npy_writer_commit(writer));
}

/* Sample i holds the number order[i] everywhere and has the class order[i] mod 3; numbers 30 and above are 10 again: the
 * same content as another sample. Number 39 has no label. */
static void write_samples(desk *d, const size_t order[SAMPLES]) {
    float values[SAMPLES][SIDE * SIDE];
    int64_t labels[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++) {
        for (size_t p = 0; p < SIDE * SIDE; p++) values[i][p] = (float)(order[i] >= 30 ? 10 : order[i]);
        labels[i] = order[i] == 39 ? EXN_UNLABELLED : order[i] >= 30 ? 1 : (int64_t)(order[i] % CLASSES);
    }
    const exn_shape images = exn_shape_of(4, (const size_t[]){SAMPLES, 1, SIDE, SIDE});
    const exn_shape vector = exn_shape_of(1, (const size_t[]){SAMPLES});
    write_array(d, d->images, EXN_F32, &images, values);
    write_array(d, d->labels, EXN_I64, &vector, labels);
}

/* Which numbers are held out, as bits. */
static uint64_t split(desk *d, const size_t order[SAMPLES], double share, size_t *count) {
    exn_dataset *data = NULL;
    bool held[SAMPLES];
    write_samples(d, order);
    unit_assert_ok(d->ctx, exn_dataset_open(&data, d->ctx, d->images, class_names, CLASSES));
    ck_assert_uint_eq(exn_dataset_count(data), SAMPLES);
    ck_assert_uint_eq(exn_dataset_labelled(data), SAMPLES - 1);
    unit_assert_ok(d->ctx, exn_dataset_split(held, count, data, share));
    exn_dataset_close(data);
    uint64_t bits = 0;
    for (size_t i = 0; i < SAMPLES; i++) bits |= (uint64_t)held[i] << order[i];
    return bits;
}

START_TEST(split_follows_content) {
    desk d = open_desk();
    size_t forward[SAMPLES], backward[SAMPLES], count = 0, again = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        forward[i] = i;
        backward[i] = SAMPLES - 1 - i;
    }
    const uint64_t held = split(&d, forward, 0.3, &count);
    ck_assert_uint_eq(split(&d, backward, 0.3, &again), held);
    ck_assert_uint_eq(again, count);
    ck_assert_uint_ge(count, 6); /* three of ten, less where equal content would have been torn apart */
    ck_assert_uint_le(count, 12);
    const uint64_t twins = (uint64_t)1 << 10 | (((uint64_t)1 << 9) - 1) << 30;
    ck_assert((held & twins) == 0 || (held & twins) == twins);
    ck_assert_msg((held >> 39 & 1) == 0, "a sample without a label was held out");
    close_desk(&d);
}
END_TEST

START_TEST(arrays_come_back) {
    desk d = open_desk();
    const float values[6] = {0.0f, -0.0f, 1.5f, 3e38f, 1e-45f, -7.25f};
    const exn_shape shape = exn_shape_of(2, (const size_t[]){2, 3});
    write_array(&d, d.images, EXN_F32, &shape, values);
    exn_npy *npy = NULL;
    float back[6];
    unit_assert_ok(d.ctx, exn_npy_open(&npy, d.ctx, d.images));
    ck_assert(exn_shape_equal(exn_npy_shape(npy), &shape));
    unit_assert_ok(d.ctx, exn_npy_read(npy, back, 0, 6));
    unit_assert_same_bits(back, values, 6);
    unit_assert_ok(d.ctx, exn_npy_read(npy, back, 4, 2));
    unit_assert_same_bits(back, values + 4, 2);
    unit_assert_fails(d.ctx, exn_npy_read(npy, back, 5, 2), EXN_E_INVALID, "beyond");
    exn_npy_close(npy);
    close_desk(&d);
}
END_TEST

static exn_status open_and_read(exn_context *ctx, void *user) {
    exn_dataset *data = NULL;
    exn_datum datum;
    EXN_TRY(exn_dataset_open(&data, ctx, user, class_names, CLASSES));
    const exn_status status = exn_dataset_read(&datum, data, 3);
    exn_dataset_close(data);
    return status;
}

START_TEST(memory_may_be_short) {
    desk d = open_desk();
    size_t order[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++) order[i] = i;
    write_samples(&d, order);
    unit_sweep_failures(open_and_read, d.images);
    close_desk(&d);
}
END_TEST

int main(void) {
    return unit_run("dataset",
                    (const TTest *const[]){split_follows_content, arrays_come_back, memory_may_be_short, NULL});
}
