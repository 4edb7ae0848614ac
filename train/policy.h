/* SPDX-License-Identifier: Apache-2.0
 * Which exits are used, and from which confidence on: the least expected cost that an allowed loss of accuracy buys. */
#ifndef EXN_TRAIN_POLICY_H
#define EXN_TRAIN_POLICY_H

#include "train/costs.h"
#include "train/point.h"

/* What every exit said about every sample while it was held out of training; arrays of exits x samples. The last exit is
 * the network's own, with its personal weights. */
typedef struct exn_evidence {
    size_t exits, samples;
    const int64_t *label; /* EXN_UNLABELLED where unknown */
    size_t classes;
    const float *logits;      /* [exits][samples][classes] */
    const float *temperature; /* [exits] */
    const exn_kernel_set *kernels;
    const size_t *untouched; /* [samples]: what the untouched network says */
    const bool *usable;      /* [exits]: trained and judged */
    bool normalised;         /* the person's camera is another, and the input is brought to the general one's */
    /* How much more often the best early exit is right on general data than the last, 0 to 1; 0: it is not, or unknown. */
    double general_gain;
} exn_evidence;

/* Exits may carry: an exit then goes by its own logits and, less and less, by those of the enabled exits before it
 * (exn_exit_score): 0.7 of its own and half of the score before it, unless EXN_POLICY_SURE labels or more say, out of fold and at each
 * one's best temperature, that the last exit is better alone.
 *
 * Decides one target. All usable exits are enabled, with one threshold; an end, where the deepest exit takes whatever comes, is
 * tried as well. The cheapest candidate wins whose expected loss beside never leaving is allowed; then exits go that cost more
 * than they save, unless those behind them are believed to do worse without hearing them.
 *
 *   expected loss   what other people lost at this threshold (exn_caution_loss), and what this person is believed to lose,
 *                   mixed by the number of labels. Belief: seven tenths the probability that the whole cascade gives to an
 *                   answer, which varies little, and the rest whether it was right, which is not biased
 *   allowed         a little at either target, the less the fewer samples speak; and, of what personalising is believed to
 *                   have gained over the untouched network, 15 % for KEEP (four points at most), all for UNTOUCHED. Few
 *                   labels say little of that gain: the fewer, the more it is drawn to what others gained, which is half of what
 *                   the best exit has before the last on general data, or 4.5 points, if that is more, where another camera was
 *                   undone
 *
 * With fewer than EXN_POLICY_LABELS labels, probabilities alone are believed; with fewer than EXN_POLICY_SURE the person's
 * samples may raise the expected loss but not lower it, and there is no end. If nothing saves at least one part in a hundred, no
 * early exit is enabled. */
#define EXN_POLICY_LABELS 10u
#define EXN_POLICY_SURE 20u
exn_status exn_policy_decide(exn_policy *out, exn_context *ctx, exn_target target, const exn_evidence *evidence,
                             const exn_costs *costs);

#endif
