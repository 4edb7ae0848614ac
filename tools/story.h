/* SPDX-License-Identifier: Apache-2.0
 * What `exeunt report` shows: charts and tables of one profile on one list of samples. */
#ifndef EXN_TOOLS_STORY_H
#define EXN_TOOLS_STORY_H

#include "tools/page.h"
#include "tools/recall.h"

typedef struct exn_story {
    const exn_profile *profile;
    const exn_figures *figures;
    const exn_recalled *recalled;
    const int64_t *label; /* [samples] */
    const exn_plan *plan; /* of a runner */
    const exn_f32_vector *vector;
} exn_story;

/* Each appends a section. EXN_E_NOMEM is in the page's status, too. */
void exn_story_summary(exn_text *page, const exn_story *s);
void exn_story_curve(exn_text *page, const exn_story *s);
void exn_story_shares(exn_text *page, const exn_story *s);
void exn_story_history(exn_text *page, const exn_story *s);
void exn_story_reliability(exn_text *page, const exn_story *s);
void exn_story_confusion(exn_text *page, const exn_story *s);
void exn_story_memory(exn_text *page, const exn_story *s);
void exn_story_decisions(exn_text *page, const exn_story *s);

#endif
