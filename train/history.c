/* SPDX-License-Identifier: Apache-2.0
 * The list of lessons. As JSON it is in state.c. */
#include "train/history.h"

#include <string.h>

void exn_history_append(exn_history *history, const exn_lesson *lesson) {
    const exn_lesson *last = history->count ? &history->lesson[history->count - 1] : NULL;
    if (last && last->labelled == lesson->labelled && last->unlabelled == lesson->unlabelled)
        history->count--;
    else if (history->count == EXN_LESSONS_MAX) {
        memmove(history->lesson, history->lesson + 1, (EXN_LESSONS_MAX - 1) * sizeof *history->lesson);
        history->count--;
    }
    history->lesson[history->count++] = *lesson;
}
