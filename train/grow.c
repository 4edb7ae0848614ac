/* SPDX-License-Identifier: Apache-2.0
 * Classes that the network does not know, added on the device. */
#include "train/grow.h"

#include "train/fresh.h"

#include <string.h>

exn_status exn_head_grow(exn_head *head, exn_context *ctx, size_t classes, float bias) {
    const size_t width = exn_head_features(head), old = head->classes;
    if (classes <= old) return EXN_OK;
    float *weights = exn_calloc(ctx, classes * width, sizeof *weights);
    float *biases = exn_calloc(ctx, classes, sizeof *biases);
    if (!weights || !biases) {
        exn_free(ctx, weights);
        exn_free(ctx, biases);
        return EXN_E_NOMEM;
    }
    memcpy(weights, head->tensor[EXN_HEAD_FC_WEIGHT], old * width * sizeof *weights);
    memcpy(biases, head->tensor[EXN_HEAD_FC_BIAS], old * sizeof *biases);
    for (size_t j = old; j < classes; j++) biases[j] = bias;
    exn_free(ctx, head->tensor[EXN_HEAD_FC_WEIGHT]);
    exn_free(ctx, head->tensor[EXN_HEAD_FC_BIAS]);
    head->tensor[EXN_HEAD_FC_WEIGHT] = weights;
    head->tensor[EXN_HEAD_FC_BIAS] = biases;
    head->classes = classes;
    return EXN_OK;
}

static exn_status check_names(const exn_profile *profile, const char *const *names, size_t count) {
    exn_context *ctx = profile->ctx;
    if (!names && count) return exn_fail(ctx, EXN_E_INVALID, "exn_profile_add_classes: names is NULL");
    if (count > EXN_CLASSES_MAX - profile->class_count)
        return exn_fail(ctx, EXN_E_UNSUPPORTED, "%zu more classes: at most %u are possible", count, EXN_CLASSES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!names[i] || !exn_name_is_clean(names[i]))
            return exn_fail(ctx, EXN_E_INVALID, "new class %zu has no name in UTF-8 without control characters", i);
        for (size_t j = 0; j < profile->class_count + i; j++)
            if (!strcmp(names[i], j < profile->class_count ? profile->classes[j] : names[j - profile->class_count]))
                return exn_fail(ctx, EXN_E_INVALID, "the profile has a class %.100s already", names[i]);
    }
    return EXN_OK;
}

/* The longer list of names; the old one's strings move into it only when all is well. */
static exn_status longer_list(char ***out, const exn_profile *profile, const char *const *names, size_t count) {
    exn_context *ctx = profile->ctx;
    const size_t old = profile->class_count;
    char **list = exn_calloc(ctx, old + count, sizeof *list);
    if (!list) return EXN_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        list[old + i] = exn_strdup(ctx, names[i]);
        if (list[old + i]) continue;
        while (i-- > 0) exn_free(ctx, list[old + i]);
        exn_free(ctx, list);
        return EXN_E_NOMEM;
    }
    memcpy(list, profile->classes, old * sizeof *list);
    *out = list;
    return EXN_OK;
}

static exn_status grow_heads(exn_head *grown, const exn_profile *profile, size_t classes) {
    for (size_t e = 0; e < profile->exit_count; e++) {
        EXN_TRY(exn_head_copy(&grown[e], profile->ctx, &profile->exits[e].head));
        EXN_TRY(exn_head_grow(&grown[e], profile->ctx, classes, EXN_UNKNOWN_LOGIT));
    }
    return EXN_OK;
}

exn_status exn_profile_add_classes(exn_profile *profile, const char *const *names, size_t count) {
    if (!profile) return EXN_E_INVALID;
    exn_context *ctx = profile->ctx;
    EXN_TRY(check_names(profile, names, count));
    if (!count) return EXN_OK;
    char **list = NULL;
    exn_head *grown = exn_calloc(ctx, profile->exit_count, sizeof *grown);
    exn_status status = grown ? grow_heads(grown, profile, profile->class_count + count) : EXN_E_NOMEM;
    if (status == EXN_OK) status = longer_list(&list, profile, names, count);
    for (size_t e = 0; status == EXN_OK && e < profile->exit_count; e++) {
        const exn_head old = profile->exits[e].head;
        profile->exits[e].head = grown[e];
        grown[e] = old;
    }
    if (status == EXN_OK) {
        exn_free(ctx, profile->classes);
        profile->classes = list;
        profile->class_count += count;
    }
    for (size_t e = 0; grown && e < profile->exit_count; e++) exn_head_free(&grown[e], ctx);
    exn_free(ctx, grown);
    return status;
}
