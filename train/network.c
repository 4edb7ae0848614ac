/* SPDX-License-Identifier: Apache-2.0
 * The network that a profile makes of its model: the graph bound at a batch, with heads appended. */
#include "train/profile.h"

#include <string.h>

static exn_status allocate(exn_network *network, exn_context *ctx, size_t exits) {
    network->exit = exn_calloc(ctx, exits, sizeof *network->exit);
    network->prefix = exn_calloc(ctx, exits, sizeof *network->prefix);
    network->logits = exn_calloc(ctx, exits, sizeof *network->logits);
    return network->exit && network->prefix && network->logits ? EXN_OK : EXN_E_NOMEM;
}

void exn_network_destroy(exn_network *network, exn_context *ctx) {
    if (network->graph) exn_graph_destroy(network->graph);
    exn_free(ctx, network->exit);
    exn_free(ctx, network->prefix);
    exn_free(ctx, network->logits);
    *network = (exn_network){0};
}

/* A last exit that nobody trained is the network's own output, so that an untouched profile gives the same bits. */
static exn_status append_exit(exn_network *network, const exn_profile *profile, size_t exit) {
    const exn_exit *e = &profile->exits[exit];
    const exn_value_id tap = exn_graph_find(network->graph, e->tap);
    if (tap == EXN_VALUE_NONE)
        return exn_fail(profile->ctx, EXN_E_INVALID, "exit %zu: the network has no value %.100s", exit, e->tap);
    const size_t at = network->exit_count;
    EXN_TRY(exn_head_append(&network->prefix[at], &network->logits[at], network->graph, tap, &e->head));
    if (exn_exit_is_own(e, profile->model)) network->logits[at] = network->graph->output;
    network->exit[at] = exit;
    network->exit_count++;
    return EXN_OK;
}

/* Ends at the exit that lets nothing pass. */
static exn_status append_ruled(exn_network *network, const exn_profile *profile, const exn_exit_rule *rules) {
    for (size_t i = 0; i < profile->exit_count; i++) {
        if (!rules[i].enabled && i + 1 < profile->exit_count) continue;
        EXN_TRY(append_exit(network, profile, i));
        if (rules[i].threshold <= 0) break;
    }
    return EXN_OK;
}

static exn_status append_part(exn_network *network, const exn_profile *profile, exn_network_part part) {
    const size_t last = profile->exit_count - 1;
    const size_t deepest = part == EXN_NETWORK_NEEDED ? exn_profile_deepest_exit(profile) : last;
    if (part == EXN_NETWORK_UNTOUCHED) {
        network->exit[0] = last;
        network->prefix[0] = network->logits[0] = network->graph->output;
        network->exit_count = 1;
        return EXN_OK;
    }
    for (size_t i = 0; i <= deepest; i++)
        if (part == EXN_NETWORK_ALL || profile->exits[i].rule.enabled) EXN_TRY(append_exit(network, profile, i));
    return EXN_OK;
}

static exn_status finish(exn_network *out, exn_network *made, exn_context *ctx, exn_status status) {
    if (status == EXN_OK)
        *out = *made;
    else
        exn_network_destroy(made, ctx);
    return status;
}

exn_status exn_network_build(exn_network *out, const exn_profile *profile, size_t batch, exn_network_part part) {
    exn_network network = {0};
    exn_status status = allocate(&network, profile->ctx, profile->exit_count);
    if (status == EXN_OK) status = exn_model_bind(&network.graph, profile->model, batch, 0, 0);
    if (status == EXN_OK) status = append_part(&network, profile, part);
    return finish(out, &network, profile->ctx, status);
}

exn_status exn_network_build_ruled(exn_network *out, const exn_profile *profile, size_t batch,
                                   const exn_exit_rule *rules) {
    exn_network network = {0};
    exn_status status = allocate(&network, profile->ctx, profile->exit_count);
    if (status == EXN_OK) status = exn_model_bind(&network.graph, profile->model, batch, 0, 0);
    if (status == EXN_OK) status = append_ruled(&network, profile, rules);
    return finish(out, &network, profile->ctx, status);
}

exn_status exn_network_build_single(exn_network *out, const exn_profile *profile, size_t batch, size_t exit) {
    if (exit >= profile->exit_count)
        return exn_fail(profile->ctx, EXN_E_INVALID, "exit %zu of %zu", exit, profile->exit_count);
    exn_network network = {0};
    exn_status status = allocate(&network, profile->ctx, profile->exit_count);
    if (status == EXN_OK) status = exn_model_bind(&network.graph, profile->model, batch, 0, 0);
    if (status == EXN_OK) status = append_exit(&network, profile, exit);
    return finish(out, &network, profile->ctx, status);
}
