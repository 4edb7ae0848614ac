/* SPDX-License-Identifier: Apache-2.0
 * Makes the demo's person from Fashion-MNIST's test split: a few kinds of clothes through a camera of their own.
 *
 *     make_person FASHION_MNIST_FOLDER OUT_FOLDER
 *
 * Writes IDX pairs labelled-, unlabelled- and test-images-idx3-ubyte (and -labels-idx1-ubyte); no picture is in two sets. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "core/rng.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE, PICTURES = 10000, LABELLED = 60, UNLABELLED = 400, SEED = 2021 };

/* The person's kinds of clothes. */
static const uint8_t kinds[] = {0, 3, 6, 9}; /* t-shirt, dress, shirt, boot */

/* The camera: tilted by 16 degrees (the angle of the 7-24-25 triangle, so that nothing is rounded differently anywhere),
 * slightly out of focus, four fifths of the light on a grey floor, noise. */
static const float tilt_cos = 0.96f, tilt_sin = 0.28f, light = 0.8f, floor_grey = 6.0f, noise_grey = 8.0f;
static const float blur[3] = {0.2f, 0.6f, 0.2f};

static uint8_t images[PICTURES][PIXELS], labels[PICTURES];

static void fail(const char *what, const char *path) {
    fprintf(stderr, "make_person: %s: %s\n", path, what);
    exit(1);
}

static void read_idx(void *out, size_t bytes, size_t header, const char *folder, const char *name) {
    char path[4096];
    uint8_t skipped[16];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    gzFile file = gzopen(path, "rb");
    if (file == NULL) fail("cannot be opened", path);
    const bool good =
        gzread(file, skipped, (unsigned)header) == (int)header && gzread(file, out, (unsigned)bytes) == (int)bytes;
    gzclose(file);
    if (!good) fail("ends too early", path);
}

/* Grey level between pixels; black outside. */
static float sample(const float *from, float x, float y) {
    float sum = 0.0f;
    const int x0 = (int)(x + 64.0f) - 64, y0 = (int)(y + 64.0f) - 64;
    for (int j = y0; j <= y0 + 1; j++)
        for (int i = x0; i <= x0 + 1; i++) {
            if (i < 0 || j < 0 || i >= SIDE || j >= SIDE) continue;
            const float wx = i == x0 ? (float)(x0 + 1) - x : x - (float)x0;
            const float wy = j == y0 ? (float)(y0 + 1) - y : y - (float)y0;
            sum += wx * wy * from[j * SIDE + i];
        }
    return sum;
}

/* One pass of the blur along rows (step 1) or columns (step SIDE). */
static void blur_along(float *to, const float *from, int step) {
    for (int p = 0; p < PIXELS; p++) {
        const int along = step == 1 ? p % SIDE : p / SIDE;
        to[p] = blur[1] * from[p] + (along > 0 ? blur[0] * from[p - step] : 0.0f) +
                (along < SIDE - 1 ? blur[2] * from[p + step] : 0.0f);
    }
}

static void photograph(uint8_t *to, const uint8_t *from, exn_rng *rng) {
    float scene[PIXELS], tilted[PIXELS], soft[PIXELS];
    const float centre = (SIDE - 1) / 2.0f;
    for (int p = 0; p < PIXELS; p++) scene[p] = (float)from[p];
    for (int p = 0; p < PIXELS; p++) {
        const float x = (float)(p % SIDE) - centre, y = (float)(p / SIDE) - centre;
        tilted[p] = sample(scene, centre + tilt_cos * x - tilt_sin * y, centre + tilt_sin * x + tilt_cos * y);
    }
    blur_along(soft, tilted, 1);
    blur_along(tilted, soft, SIDE);
    for (int p = 0; p < PIXELS; p++) {
        const float grey = floor_grey + light * tilted[p] + noise_grey * exn_rng_normal(rng);
        to[p] = (uint8_t)(grey < 0.0f ? 0.0f : grey > 255.0f ? 255.0f : grey + 0.5f);
    }
}

static void write_u32(FILE *file, size_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) fputc((int)(value >> shift & 255), file);
}

static FILE *create(char *path, size_t bytes, const char *folder, const char *set, const char *what) {
    snprintf(path, bytes, "%s/%s-%s-ubyte", folder, set, what);
    FILE *file = fopen(path, "wb");
    if (file == NULL) fail("cannot be written", path);
    return file;
}

static void write_set(const char *folder, const char *set, const size_t *which, size_t count, exn_rng *rng) {
    char image_path[4096], label_path[4096];
    FILE *image = create(image_path, sizeof image_path, folder, set, "images-idx3");
    FILE *label = create(label_path, sizeof label_path, folder, set, "labels-idx1");
    write_u32(image, 0x803);
    write_u32(image, count);
    write_u32(image, SIDE);
    write_u32(image, SIDE);
    write_u32(label, 0x801);
    write_u32(label, count);
    for (size_t i = 0; i < count; i++) {
        uint8_t photo[PIXELS];
        photograph(photo, images[which[i]], rng);
        fwrite(photo, 1, sizeof photo, image);
        fputc(labels[which[i]], label);
    }
    if (fclose(image) != 0) fail("cannot be written", image_path);
    if (fclose(label) != 0) fail("cannot be written", label_path);
    printf("%s: %zu pictures\n", set, count);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: make_person FASHION_MNIST_FOLDER OUT_FOLDER\n");
        return 2;
    }
    read_idx(images, sizeof images, 16, argv[1], "t10k-images-idx3-ubyte.gz");
    read_idx(labels, sizeof labels, 8, argv[1], "t10k-labels-idx1-ubyte.gz");
    static size_t mine[PICTURES];
    size_t count = 0;
    for (size_t i = 0; i < PICTURES; i++)
        if (memchr(kinds, labels[i], sizeof kinds) != NULL) mine[count++] = i;
    exn_rng rng = exn_rng_seed(SEED, 0);
    exn_rng_shuffle(&rng, mine, count);
    write_set(argv[2], "labelled", mine, LABELLED, &rng);
    write_set(argv[2], "unlabelled", mine + LABELLED, UNLABELLED, &rng);
    write_set(argv[2], "test", mine + LABELLED + UNLABELLED, count - LABELLED - UNLABELLED, &rng);
    return 0;
}
