/* SPDX-License-Identifier: Apache-2.0
 * Photos decoded a few at a time, a thread each: of a phone's photo, decoding takes longer than the network does. Threads
 * end before their photos are handed out, so that they never compete with those that compute. */
#include <pthread.h>
#include <string.h>

#include "tools/dataset_private.h"

/* One photo; a context is one thread's, so each has its own. */
typedef struct exn_slot {
    exn_context *ctx;
    const char *file; /* NULL: nothing is loaded */
    size_t index, side;
    exn_picture picture;
    exn_status status;
    pthread_t thread;
    bool running;
} exn_slot;

struct exn_ahead {
    const bool *skip;
    size_t count;
    exn_slot slot[]; /* in the order in which they are asked for */
};

void exn_ahead_close(exn_dataset *data) {
    exn_ahead *ahead = data->ahead;
    for (size_t i = 0; ahead != NULL && i < ahead->count; i++) {
        if (ahead->slot[i].ctx == NULL) continue;
        exn_picture_free(&ahead->slot[i].picture, ahead->slot[i].ctx);
        exn_context_destroy(ahead->slot[i].ctx);
    }
    exn_free(data->ctx, ahead);
    data->ahead = NULL;
}

exn_status exn_dataset_read_ahead(exn_dataset *data, size_t threads, const bool *skip) {
    exn_ahead_close(data);
    if (data->files == NULL || threads < 2) return EXN_OK;
    exn_ahead *ahead = exn_calloc(data->ctx, 1, sizeof *ahead + threads * sizeof *ahead->slot);
    if (ahead == NULL) return EXN_E_NOMEM;
    *ahead = (exn_ahead){.skip = skip, .count = threads};
    data->ahead = ahead;
    const exn_context_options options = {.struct_size = sizeof options};
    exn_status status = EXN_OK;
    for (size_t i = 0; i < threads && status == EXN_OK; i++) status = exn_context_create(&ahead->slot[i].ctx, &options);
    if (status == EXN_OK) return EXN_OK;
    exn_ahead_close(data);
    return exn_fail(data->ctx, status, "no memory to decode photos side by side");
}

static void *load(void *argument) {
    exn_slot *slot = argument;
    slot->status = exn_picture_load(&slot->picture, slot->ctx, slot->file, slot->side);
    return NULL;
}

/* Loads `first` and those that will be asked for next. */
static void load_group(exn_dataset *data, size_t first) {
    exn_ahead *ahead = data->ahead;
    size_t index = first;
    for (size_t i = 0; i < ahead->count; i++) {
        exn_slot *slot = &ahead->slot[i];
        exn_picture_free(&slot->picture, slot->ctx);
        while (i > 0 && index < data->count && ahead->skip != NULL && ahead->skip[index]) index++;
        slot->file = index < data->count ? data->files[index] : NULL;
        slot->index = index++;
        slot->side = data->side;
        slot->running = i > 0 && slot->file != NULL && pthread_create(&slot->thread, NULL, load, slot) == 0;
    }
    for (size_t i = 0; i < ahead->count; i++)
        if (ahead->slot[i].file != NULL && !ahead->slot[i].running) load(&ahead->slot[i]);
    for (size_t i = 0; i < ahead->count; i++)
        if (ahead->slot[i].running) pthread_join(ahead->slot[i].thread, NULL);
}

static exn_slot *find_slot(exn_ahead *ahead, size_t index) {
    for (size_t i = 0; i < ahead->count; i++)
        if (ahead->slot[i].file != NULL && ahead->slot[i].index == index) return &ahead->slot[i];
    return NULL;
}

exn_status exn_ahead_read(exn_picture **out, exn_dataset *data, size_t index) {
    exn_slot *slot = find_slot(data->ahead, index);
    if (slot == NULL) {
        load_group(data, index);
        slot = &data->ahead->slot[0];
    }
    *out = &slot->picture;
    return slot->status == EXN_OK ? EXN_OK : exn_fail(data->ctx, slot->status, "%s", exn_context_error(slot->ctx));
}
