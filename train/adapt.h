/* SPDX-License-Identifier: Apache-2.0
 * One exit's way from the general head to the personal one: its FC is trained in several ways and folds, and the gate
 * decides between them and how much of the general head stays.
 *
 * What lies before the FC stays as it is, so its features are computed once. */
#ifndef EXN_TRAIN_ADAPT_H
#define EXN_TRAIN_ADAPT_H

#include "train/session.h"

typedef struct exn_adapt exn_adapt;

/* Passes over the samples that one way of training takes. */
#define EXN_ADAPT_STEPS 100u

/* Whether this exit's FC can be trained alone: what lies before it has no weights, or was trained in general. */
bool exn_adapt_possible(const exn_session *session, size_t exit);
/* Steps that it will take with these many samples and classes. */
size_t exn_adapt_steps(size_t count, size_t classes, size_t folds, bool judged);
exn_status exn_adapt_create(exn_adapt **out, exn_session *session, size_t exit);
void exn_adapt_destroy(exn_adapt *adapt);
/* One way of training in all folds, or a part of it where it takes long. EXN_E_INVALID: diverged. */
exn_status exn_adapt_step(exn_adapt *adapt);
bool exn_adapt_done(const exn_adapt *adapt);
/* No more ways are tried: steps only bring back the best so far. false: there is none, or bringing it back takes long. */
bool exn_adapt_stop(exn_adapt *adapt);
/* Where the training stands: written, or read into one that was made of the same session. */
void exn_adapt_exchange(exn_adapt *adapt, exn_archive *archive);
/* Chooses; writes the session's head, held-out logits, gate and, of the last exit, what every fold's layer says to
 * `teacher`, as logits. */
exn_status exn_adapt_finish(exn_adapt *adapt);
/* Bytes and multiply-adds of all of it. */
void exn_adapt_estimate(size_t *bytes, uint64_t *macs, const exn_head *head, size_t count);

#endif
