/* SPDX-License-Identifier: Apache-2.0
 * A profile's network as an ONNX file: exits, and the decisions between them. */
#include "graph/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/profile.h"
#include "train/state.h"

typedef char made_name[EXN_EXPORT_NAME_BYTES];

/* ---- the person's camera ---- */

/* x * gain + offset per channel, between the declared input and whatever reads it. */
static void put_normalisation(made_name seen, exn_export *e, const exn_normalisation *n) {
    const exn_shape *input = &e->graph->values[e->graph->input].shape;
    const exn_shape row = exn_shape_of(4, (const size_t[]){1, input->dim[1], 1, 1});
    made_name gain, offset, scaled;
    exn_export_constant(gain, e, EXN_F32, &row, n->gain);
    exn_export_constant(offset, e, EXN_F32, &row, n->offset);
    exn_export_fresh(scaled, e);
    exn_export_fresh(seen, e);
    exn_export_op(e, "Mul", (const char *const[]){e->input, gain}, 2, scaled, NULL);
    exn_export_op(e, "Add", (const char *const[]){scaled, offset}, 2, seen, NULL);
    e->input = seen;
}

/* ---- leaving ---- */

typedef struct leaver {
    exn_export *e;
    const exn_network *network;
    const exn_exit_rule *rules; /* one a profile's exit */
} leaver;

/* What exn_exit_score computes: logits / temperature + carry * what the exit before made of it. */
static void put_score(made_name score, const leaver *l, size_t at, const char *before) {
    exn_export *e = l->e;
    const exn_exit_rule *rule = &l->rules[l->network->exit[at]];
    made_name temperature, carry, own, carried;
    const char *logits = exn_export_value(e, l->network->logits[at]);
    exn_export_float(temperature, e, rule->temperature);
    exn_export_fresh(score, e);
    if (rule->carry == 0) {
        exn_export_op(e, "Div", (const char *const[]){logits, temperature}, 2, score, NULL);
        return;
    }
    exn_export_float(carry, e, rule->carry);
    exn_export_fresh(own, e);
    exn_export_fresh(carried, e);
    exn_export_op(e, "Div", (const char *const[]){logits, temperature}, 2, own, NULL);
    exn_export_op(e, "Mul", (const char *const[]){before, carry}, 2, carried, NULL);
    exn_export_op(e, "Add", (const char *const[]){own, carried}, 2, score, NULL);
}

/* Whether the largest probability reaches the threshold. */
static void put_decision(made_name sure, exn_export *e, const char *score, float threshold) {
    exn_message softmax = {.ctx = e->ctx}, reduce = {.ctx = e->ctx};
    made_name probabilities, largest, limit;
    exn_attribute_int(&softmax, "axis", 1);
    exn_attribute_ints(&reduce, "axes", (const int64_t[]){0, 1}, 2);
    exn_attribute_int(&reduce, "keepdims", 0);
    exn_export_float(limit, e, threshold);
    exn_export_fresh(probabilities, e);
    exn_export_fresh(largest, e);
    exn_export_fresh(sure, e);
    exn_export_op(e, "Softmax", &score, 1, probabilities, &softmax);
    exn_export_op(e, "ReduceMax", (const char *const[]){probabilities}, 1, largest, &reduce);
    exn_export_op(e, "GreaterOrEqual", (const char *const[]){largest, limit}, 2, sure, NULL);
}

/* A branch hands on the answer: its scores, and the number of its exit. */
static void put_answer(exn_export *e, const char *score, size_t exit, const exn_export_port out[2]) {
    made_name number;
    exn_export_int(number, e, (int64_t)exit);
    exn_export_op(e, "Identity", &score, 1, out[0].name, NULL);
    exn_export_op(e, "Identity", (const char *const[]){number}, 1, out[1].name, NULL);
}

static void put_exits(const leaver *l, size_t at, const char *before, const exn_export_port out[2]);

/* One branch of an If, with output names of its own. then: the answer is this exit's; else: the exits behind decide. */
static exn_message put_branch(const leaver *l, size_t at, const char *score, bool then, const exn_export_port out[2]) {
    exn_export *e = l->e;
    exn_message graph = {.ctx = e->ctx}, *around = e->nodes;
    made_name names[2];
    exn_export_port own[2] = {out[0], out[1]};
    for (size_t i = 0; i < 2; i++) {
        exn_export_fresh(names[i], e);
        own[i].name = names[i];
    }
    e->nodes = &graph;
    if (then)
        put_answer(e, score, l->network->exit[at], own);
    else
        put_exits(l, at + 1, score, own);
    e->nodes = around;
    exn_export_ports(&graph, names[0], own, 2);
    return graph;
}

static void put_exits(const leaver *l, size_t at, const char *before, const exn_export_port out[2]) {
    made_name score, sure;
    put_score(score, l, at, before);
    if (at + 1 == l->network->exit_count) {
        put_answer(l->e, score, l->network->exit[at], out);
        return;
    }
    put_decision(sure, l->e, score, l->rules[l->network->exit[at]].threshold);
    exn_message branches = {.ctx = l->e->ctx};
    exn_message leaves = put_branch(l, at, score, true, out);
    exn_attribute_graph(&branches, "then_branch", &leaves);
    exn_message stays = put_branch(l, at, score, false, out);
    exn_attribute_graph(&branches, "else_branch", &stays);
    exn_export_ops(l->e, "If", (const char *const[]){sure}, 1, (const char *const[]){out[0].name, out[1].name}, 2,
                   &branches);
}

/* ---- outputs ---- */

/* The name wanted, with underscores behind it as long as a value of the file has that name; `all`: of the network. */
static void port_name(made_name name, const exn_export *e, const char *wanted, size_t number, bool all) {
    made_name tail = "";
    for (size_t i = 0; i + 16 < sizeof tail; i++) {
        snprintf(name, EXN_EXPORT_NAME_BYTES, number == SIZE_MAX ? "%s%s" : "%s%s%zu", wanted, tail, number);
        const exn_value_id taken = exn_graph_find(e->graph, name);
        if (taken == EXN_VALUE_NONE || !(all || e->written[taken])) return;
        tail[i] = '_';
    }
}

static exn_status save(exn_export *e, const exn_profile *profile, const exn_export_port ports[], size_t count,
                       const char *path) {
    json_t *names = json_array(), *preprocess = exn_preprocess_write(&profile->preprocess);
    for (size_t i = 0; i < profile->class_count; i++) json_array_append_new(names, json_string(profile->classes[i]));
    char *classes = json_dumps(names, JSON_COMPACT), *seen = json_dumps(preprocess, JSON_COMPACT);
    exn_status status = classes && seen ? EXN_OK : EXN_E_NOMEM;
    if (status == EXN_OK)
        status = exn_export_save(e, ports, count,
                                 (const char *const[]){"exeunt.classes", classes, "exeunt.preprocess", seen}, 2, path);
    free(classes);
    free(seen);
    json_decref(names);
    json_decref(preprocess);
    return status;
}

static exn_status export_exits(exn_export *e, const exn_profile *profile, const exn_network *network, bool cut,
                               const char *path) {
    exn_export_port *ports = exn_calloc(e->ctx, network->exit_count, sizeof *ports);
    made_name *names = exn_calloc(e->ctx, network->exit_count, sizeof *names);
    exn_status status = ports && names ? EXN_OK : EXN_E_NOMEM;
    for (size_t i = 0; i < network->exit_count; i++) exn_export_value(e, network->logits[i]);
    for (size_t i = 0; i < network->exit_count && status == EXN_OK; i++) {
        const exn_value *logits = &e->graph->values[network->logits[i]];
        if (cut && strcmp(logits->name, "logits") == 0) {
            ports[i] = (exn_export_port){"logits", EXN_F32, logits->shape};
            continue;
        }
        port_name(names[i], e, cut ? "logits" : "exit_", cut ? SIZE_MAX : network->exit[i], false);
        ports[i] = (exn_export_port){names[i], EXN_F32, logits->shape};
        exn_export_op(e, "Identity", (const char *const[]){logits->name}, 1, names[i], NULL);
    }
    if (status == EXN_OK) status = save(e, profile, ports, network->exit_count, path);
    exn_free(e->ctx, ports);
    exn_free(e->ctx, names);
    return status;
}

static exn_status export_leave(exn_export *e, const exn_profile *profile, const exn_network *network,
                               const exn_exit_rule *rules, const char *path) {
    const leaver l = {e, network, rules};
    made_name names[2];
    port_name(names[0], e, "scores", SIZE_MAX, true);
    port_name(names[1], e, "exit", SIZE_MAX, true);
    const exn_export_port out[2] = {{names[0], EXN_F32, e->graph->values[network->logits[0]].shape},
                                    {names[1], EXN_I64, {.rank = 0}}};
    put_exits(&l, 0, NULL, out);
    return save(e, profile, out, 2, path);
}

/* ---- the profile ---- */

static exn_status build(exn_network *network, exn_exit_rule *rules, const exn_profile *profile,
                        const exn_export_options *o) {
    const size_t batch = o->batch ? o->batch : 1;
    switch (o->form) {
    case EXN_EXPORT_EXITS:
        return exn_network_build(network, profile, batch, EXN_NETWORK_ALL);
    case EXN_EXPORT_CUT:
        return exn_network_build_single(network, profile, batch, o->exit);
    case EXN_EXPORT_LEAVE:
        if (batch != 1)
            return exn_fail(profile->ctx, EXN_E_INVALID, "samples leave one by one: batch %zu instead of 1", batch);
        EXN_TRY(exn_profile_rules(rules, profile, o->target));
        return exn_network_build_ruled(network, profile, 1, rules);
    }
    return exn_fail(profile->ctx, EXN_E_INVALID, "unknown form of export");
}

static exn_status export_network(const exn_profile *profile, const exn_network *network, const exn_exit_rule *rules,
                                 exn_export_form form, const char *path) {
    exn_export e;
    made_name seen;
    exn_status status = exn_export_create(&e, network->graph);
    if (status == EXN_OK && profile->normal.used) put_normalisation(seen, &e, &profile->normal);
    if (status == EXN_OK)
        status = form == EXN_EXPORT_LEAVE ? export_leave(&e, profile, network, rules, path)
                                          : export_exits(&e, profile, network, form == EXN_EXPORT_CUT, path);
    exn_export_free(&e);
    return status;
}

exn_status exn_profile_export(const exn_profile *profile, const char *path, const exn_export_options *options) {
    if (!profile) return EXN_E_INVALID;
    exn_export_options filled;
    EXN_TRY(exn_options_read(&filled, sizeof filled, profile->ctx, options));
    exn_network network = {0};
    exn_exit_rule *rules = exn_calloc(profile->ctx, profile->exit_count, sizeof *rules);
    exn_status status = rules ? build(&network, rules, profile, &filled) : EXN_E_NOMEM;
    if (status == EXN_OK) status = export_network(profile, &network, rules, filled.form, path);
    exn_network_destroy(&network, profile->ctx);
    exn_free(profile->ctx, rules);
    return status;
}
