/* SPDX-License-Identifier: Apache-2.0
 * Where a fit stands: everything that the next step reads and that creating the fit does not bring back. */
#include "train/loop_private.h"

static void exchange_order(exn_fit *fit, exn_archive *archive) {
    const size_t count = fit->samples.count;
    exn_archive_count(archive, &fit->next, count);
    for (size_t i = 0; i < count; i++) exn_archive_count(archive, &fit->order[i], count - 1);
    exn_archive_u64(archive, &fit->rng.state);
    exn_archive_u64(archive, &fit->rng.increment);
}

void exn_fit_exchange(exn_fit *fit, exn_archive *archive) {
    exn_optimiser *o = &fit->optimiser;
    exn_archive_count(archive, &o->step, o->steps);
    exn_archive_reals(archive, &o->power1, 1);
    exn_archive_reals(archive, &o->power2, 1);
    exchange_order(fit, archive);
    exn_archive_head(archive, fit->head);
    exn_archive_floats(archive, fit->moments, 2 * exn_fit_trained_count(fit));
    if (fit->whole) exn_archive_floats(archive, fit->variance, exn_head_features(fit->head));
    fit->loaded = false;
}
