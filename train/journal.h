/* SPDX-License-Identifier: Apache-2.0
 * What a run has finished and where it stands, on disk, so that a kill costs seconds.
 *
 * PATH holds finished parts of the work, appended one after the other and synced:
 *     header  magic u64, key text[32]
 *     part    number u64, order u64, bytes u64, checksum u64 of key, these and state; state
 * PATH.0 and PATH.1 hold, in turn, the state of the part under way, without a header; the larger order is the newer. A kill
 * while one is written leaves the other. A tail that is short or fails its checksum is dropped when the file is opened; what
 * belongs to another key is emptied. Each file's mode is 0600. */
#ifndef EXN_TRAIN_JOURNAL_H
#define EXN_TRAIN_JOURNAL_H

#include "core/file.h"
#include "train/archive.h"

typedef struct exn_journal exn_journal;

/* key: tells runs apart (EXN_HASH_TEXT_BYTES - 1 characters). EXN_E_BUSY: in use by another process; EXN_E_FORMAT: PATH is
 * something else. */
exn_status exn_journal_open(exn_journal **out, exn_context *ctx, const char *path, const char *key);
void exn_journal_close(exn_journal *journal);
/* Removes the files of a run that nobody will go on with; those that are not there are no failure, and neither is what is no
 * journal, which stays. EXN_E_BUSY as above. */
exn_status exn_journal_remove(exn_context *ctx, const char *path);

/* Reads part `part`, if it is finished: *found. The archive is to be freed. */
exn_status exn_journal_finished(bool *found, exn_archive *out, exn_journal *journal, size_t part);
exn_status exn_journal_finish(exn_journal *journal, size_t part, const exn_archive *state);
/* The same for a part under way, of which the newest state counts. */
exn_status exn_journal_under_way(bool *found, exn_archive *out, exn_journal *journal, size_t part);
exn_status exn_journal_keep(exn_journal *journal, size_t part, const exn_archive *state);
/* Whether enough was done since the last call of finish or keep (or open) to be worth keeping. */
bool exn_journal_due(const exn_journal *journal);

#endif
