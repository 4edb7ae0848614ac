/* SPDX-License-Identifier: Apache-2.0
 * Packed weights of a plan: borrowed, or found in a file, else packed from the constants. */
#include "graph/lower.h"

#include <string.h>

/* Everything that the packed bytes follow from. */
static exn_hash key_of(const exn_lowering *l, const exn_packing *p) {
    const size_t row = p->columns * sizeof(float);
    const exn_value *w = p->weight;
    const struct {
        uint64_t layout, count, columns, parts;
        exn_hash text, set, weight, scale, bias;
    } all = {EXN_PACKED_LAYOUT,
             p->count,
             p->columns,
             (p->scale ? 1u : 0u) | (p->bias ? 2u : 0u),
             exn_hash_bytes(p->layout, strlen(p->layout)),
             exn_hash_bytes(l->plan->kernels.name, strlen(l->plan->kernels.name)),
             exn_hash_bytes(w->data, exn_shape_elements(&w->shape) * sizeof(float)),
             exn_hash_bytes(p->scale, p->scale ? row : 0),
             exn_hash_bytes(p->bias, p->bias ? row : 0)};
    return exn_hash_bytes(&all, sizeof all);
}

/* The weights as aligned floats: in place, or copied to memory that every weight shares. */
static exn_status aligned_weight(const float **out, exn_lowering *l, const exn_value *weight) {
    *out = weight->data;
    if (weight->aligned) return EXN_OK;
    const size_t count = exn_shape_elements(&weight->shape);
    if (l->scratch_count < count) {
        exn_free(l->ctx, l->scratch);
        l->scratch_count = count > l->largest_weight ? count : l->largest_weight;
        l->scratch = exn_malloc(l->ctx, l->scratch_count, sizeof *l->scratch);
        if (!l->scratch) {
            l->scratch_count = 0;
            return EXN_E_NOMEM;
        }
    }
    memcpy(l->scratch, weight->data, count * sizeof *l->scratch);
    *out = l->scratch;
    return EXN_OK;
}

static exn_status pack_now(const float **out, exn_lowering *l, const exn_packing *p) {
    const float *weight;
    float *packed;
    EXN_TRY(exn_value_check(l->ctx, p->weight));
    EXN_TRY(exn_plan_pack_block(&packed, l->plan, p->count));
    EXN_TRY(aligned_weight(&weight, l, p->weight));
    EXN_TRY(p->pack(packed, l, p, weight));
    *out = packed;
    return EXN_OK;
}

static exn_status find_or_pack(const float **out, exn_lowering *l, const exn_packing *p) {
    exn_packed *own = l->plan->packed_known;
    if (!own && !l->lender) return pack_now(out, l, p);
    const exn_hash key = key_of(l, p);
    *out = l->lender ? exn_packed_lend(l->lender, key, p->count) : NULL;
    if (*out) return EXN_OK;
    if (!own) return pack_now(out, l, p);
    EXN_TRY(exn_packed_find(out, own, key, p->count));
    if (*out) {
        l->plan->packed_bytes += p->count * sizeof(float);
        return EXN_OK;
    }
    EXN_TRY(pack_now(out, l, p));
    return exn_packed_add(own, key, *out, p->count);
}

exn_status exn_lower_pack(const float **out, exn_lowering *l, const exn_packing *p) {
    if (!p->weight->data) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "this input must be a constant");
    if (p->weight->dtype != EXN_F32) return exn_lower_fail(l, EXN_E_UNSUPPORTED, "constants must be float32");
    EXN_TRY(find_or_pack(out, l, p));
    if (p->weight->mapped) exn_mapping_forget(p->weight->data, exn_shape_elements(&p->weight->shape) * sizeof(float));
    return EXN_OK;
}
