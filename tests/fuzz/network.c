/* SPDX-License-Identifier: Apache-2.0
 * A small network of the golden data. */
#include "tests/fuzz/network.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

const exn_model *fuzz_network(void) {
    static exn_model *model;
    if (model == NULL) {
        char path[4096];
        const char *root = getenv("EXN_SOURCE_ROOT");
        snprintf(path, sizeof path, "%s/" FUZZ_NETWORK, root != NULL ? root : ".");
        const exn_status status = exn_model_open(&model, fuzz_context(), path, NULL);
        if (status != EXN_OK) fprintf(stderr, "%s\n", exn_context_error(fuzz_context()));
        fuzz_assert(status == EXN_OK);
    }
    return model;
}
