/* SPDX-License-Identifier: Apache-2.0
 * The whole way on one page: open a network, attach exits, learn a few pictures, keep the profile, classify.
 *
 *     embed NETWORK.onnx PROFILE.safetensors
 *
 * The network takes one grey channel. The pictures are drawn here: stripes that differ in width, one width a class. */
#include <exeunt/exeunt.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 28, CLASSES = 4, PICTURES = 80 };

static uint8_t pixels[PICTURES + CLASSES][SIDE * SIDE];

/* No two alike: brightness, slant, place and grain follow from the number. */
static exn_image draw(size_t which) {
    const size_t width = 2 + 2 * (which % CLASSES), shift = which * 7 % 13, slant = which / CLASSES % 3;
    uint32_t noise = (uint32_t)which + 1;
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        noise = noise * 1664525 + 1013904223;
        const size_t at = i % SIDE + i / SIDE * slant / 2 + shift;
        pixels[which][i] = (uint8_t)((at / width % 2 ? 120 + 9 * (which % 11) : 20) + (noise >> 26));
    }
    return (exn_image){.pixels = pixels[which], .width = SIDE, .height = SIDE, .channels = 1};
}

static void must(exn_status status, const exn_context *ctx) {
    if (status == EXN_OK) return;
    fprintf(stderr, "embed: %s: %s\n", exn_status_name(status), exn_context_error(ctx));
    exit(1);
}

static bool go_on(void *user, const exn_progress *progress) {
    (void)user, (void)progress;
    return true; /* false would pause at this step */
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: embed NETWORK.onnx PROFILE.safetensors\n"), 2;
    exn_context *ctx = NULL;
    exn_model *network = NULL;
    exn_profile *me = NULL;
    exn_trainer *lesson = NULL;
    exn_runner *runner = NULL;
    int wrong = 0;
    const exn_profile_options options = {
        .struct_size = sizeof options, .exits = 2, .preprocess = {.order = EXN_ORDER_GRAY}};

    if (exn_context_create(&ctx, NULL) != EXN_OK) return 1;
    must(exn_model_open(&network, ctx, argv[1], NULL), ctx);
    must(exn_profile_create(&me, network, &options), ctx);
    must(exn_trainer_create(&lesson, me, NULL), ctx);
    for (size_t i = 0; i < PICTURES; i++) {
        const exn_image picture = draw(i);
        must(exn_trainer_add(lesson, &picture, (int64_t)(i % CLASSES)), ctx);
    }
    must(exn_trainer_run(lesson, go_on, NULL), ctx);
    exn_trainer_destroy(lesson);
    must(exn_profile_save(me, argv[2]), ctx);
    must(exn_runner_create(&runner, me, NULL), ctx);

    for (size_t i = PICTURES; i < PICTURES + CLASSES; i++) { /* not seen before */
        const exn_image picture = draw(i);
        exn_answer answer = {.struct_size = sizeof answer};
        if (exn_runner_classify(runner, &picture, &answer) != EXN_OK)
            return fprintf(stderr, "embed: %s\n", exn_runner_error(runner)), 1;
        if (answer.label != i % CLASSES) wrong++;
        printf("picture %zu: class %zu, confidence %.3f, left at exit %zu after %.2f ms\n", i, answer.label,
               (double)answer.confidence, answer.exit, answer.infer_ms);
    }
    exn_runner_destroy(runner);
    exn_profile_destroy(me);
    exn_model_destroy(network);
    exn_context_destroy(ctx);
    return wrong > 0;
}
