/* SPDX-License-Identifier: Apache-2.0
 * AdamW (Loshchilov and Hutter, 2019) and SGD with momentum on a cosine schedule. */
#include "train/optimiser.h"

#define BETA1 0.9
#define BETA2 0.999
#define EPSILON 1e-8f
#define MOMENTUM 0.9f
#define WARM_SHARE 0.3
#define WARM_START 0.04

/* cos(pi x) is sin(pi (1/2 - x)), whose argument stays within pi/2: ten terms of the series reach double's precision. */
double exn_half_cosine(double x) {
    const double a = 3.14159265358979323846 * (0.5 - x);
    double term = a, sum = a;
    for (int i = 1; i <= 10; i++) {
        term *= -a * a / (double)(2 * i * (2 * i + 1));
        sum += term;
    }
    return 0.5 * (1.0 + sum);
}

void exn_optimiser_start(exn_optimiser *out, exn_optimiser_kind kind, const exn_f32_vector *vector, double rate,
                         double decay, size_t steps) {
    *out = (exn_optimiser){
        .kind = kind, .vector = vector, .rate = rate, .decay = decay, .steps = steps, .power1 = BETA1, .power2 = BETA2};
}

static double rate_now(const exn_optimiser *o) {
    const double way = (double)o->step / (double)o->steps;
    if (o->schedule == EXN_SCHEDULE_COSINE) return o->rate * exn_half_cosine(way);
    if (way >= WARM_SHARE) return o->rate * exn_half_cosine((way - WARM_SHARE) / (1.0 - WARM_SHARE));
    return o->rate * (1.0 - (1.0 - WARM_START) * exn_half_cosine(way / WARM_SHARE));
}

void exn_optimiser_apply(const exn_optimiser *o, exn_part part) {
    const float rate = (float)rate_now(o);
    const float correction1 = (float)(1.0 / (1.0 - o->power1)), correction2 = (float)(1.0 / (1.0 - o->power2));
    for (size_t s = 0; s < o->slots; s++) {
        const exn_slot *slot = &o->slot[s];
        const float decay = slot->decays ? (float)o->decay : 0.0f;
        size_t begin, end;
        exn_part_range(&begin, &end, part, slot->count, 16);
        if (o->kind == EXN_OPTIMISER_SGD)
            o->vector->sgd(end - begin, slot->weight + begin, slot->gradient + begin, slot->first + begin, rate,
                           MOMENTUM, decay);
        else
            o->vector->adamw(end - begin, slot->weight + begin, slot->gradient + begin, slot->first + begin,
                             slot->second + begin, rate, (float)BETA1, (float)BETA2, EPSILON, decay, correction1,
                             correction2);
    }
}

void exn_optimiser_advance(exn_optimiser *o) {
    o->step++;
    o->power1 *= BETA1;
    o->power2 *= BETA2;
}
