/* SPDX-License-Identifier: Apache-2.0
 * Packed weights: whatever the file holds, the network's answers are its own. The file as it is, then the same with the
 * table's hash made good. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "arch/cpu.h"
#include "arch/select.h"
#include "graph/packed.h"
#include "graph/run.h"
#include "tests/fuzz/network.h"

/* The file's layout as graph/packed.h states it. */
enum { HEADER_BYTES = 64, ENTRY_BYTES = 48, SECTIONS_AT = 8, SIZE_AT = 16, HASH_AT = 32 };

static void run(float logits[FUZZ_CLASSES], const char *packed) {
    const exn_model *model = fuzz_network();
    exn_plan *plan;
    exn_exec *exec;
    exn_kernel_set kernels;
    float input[FUZZ_INPUT], *sink = logits;
    fuzz_assert(exn_kernels_select(&kernels, model->ctx, exn_cpu_detect(), "scalar") == EXN_OK); /* the seed's */
    const exn_plan_options options = {
        .kernels = &kernels, .threads = 1, .outputs = &model->graph->output, .output_count = 1, .packed = packed};
    fuzz_assert(exn_plan_create(&plan, model->graph, &options) == EXN_OK);
    fuzz_assert(exn_exec_create(&exec, model->ctx, plan) == EXN_OK);
    fuzz_input(input, FUZZ_INPUT);
    exn_exec_set_nchw(exec, input);
    exn_exec_run(exec, &sink);
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
}

static void use(const char *path) {
    static float expected[FUZZ_CLASSES];
    static bool known;
    if (!known) run(expected, NULL);
    known = true;
    float logits[FUZZ_CLASSES];
    run(logits, path);
    fuzz_assert(memcmp(logits, expected, sizeof logits) == 0);
}

/* Size and hash of header and table, for as many sections as the file says and has room for. */
static void mend(uint8_t *bytes, size_t size) {
    uint64_t sections, total = size;
    if (size < HEADER_BYTES) return;
    memcpy(&sections, bytes + SECTIONS_AT, sizeof sections);
    if (sections > (size - HEADER_BYTES) / ENTRY_BYTES) return;
    memcpy(bytes + SIZE_AT, &total, sizeof total);
    memset(bytes + HASH_AT, 0, sizeof(exn_hash));
    const exn_hash both[2] = {exn_hash_bytes(bytes, HEADER_BYTES),
                              exn_hash_bytes(bytes + HEADER_BYTES, (size_t)sections * ENTRY_BYTES)};
    const exn_hash all = exn_hash_bytes(both, sizeof both);
    memcpy(bytes + HASH_AT, &all, sizeof all);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fuzz_network();
    const size_t live = fuzz_live();
    use(fuzz_file(0, "weights.packed", bytes, size));
    uint8_t *mended = fuzz_copy(bytes, size);
    mend(mended, size);
    use(fuzz_file(0, "weights.packed", mended, size));
    free(mended);
    fuzz_assert_live(live);
    return 0;
}
