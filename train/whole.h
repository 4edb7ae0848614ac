/* SPDX-License-Identifier: Apache-2.0
 * An exit whose convolutions nobody has trained yet: the whole head learns, fold by fold, then from all samples. */
#ifndef EXN_TRAIN_WHOLE_H
#define EXN_TRAIN_WHOLE_H

#include "train/session.h"

exn_status exn_whole_create(exn_whole **out, exn_session *session, size_t exit);
void exn_whole_destroy(exn_whole *whole);
size_t exn_whole_steps(size_t folds);
/* One training step. EXN_E_INVALID: diverged. */
exn_status exn_whole_step(exn_whole *whole);
bool exn_whole_done(const exn_whole *whole);
/* Moves the head into the session, whose held-out logits are written already. */
void exn_whole_finish(exn_whole *whole);
/* Where the training stands: written, or read into one that was made of the same session. */
void exn_whole_exchange(exn_whole *whole, exn_archive *archive);
exn_status exn_whole_estimate(size_t *bytes, uint64_t *macs, const exn_trainer *trainer, const exn_head *head,
                              size_t count);

#endif
