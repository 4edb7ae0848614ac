/* SPDX-License-Identifier: Apache-2.0 */
#include "core/include/exeunt/exeunt.h"

const char *exn_version(void) {
    return EXN_VERSION_TEXT;
}

const char *exn_status_name(exn_status status) {
    switch (status) {
    case EXN_PAUSED:
        return "paused";
    case EXN_OK:
        return "ok";
    case EXN_E_INVALID:
        return "invalid argument";
    case EXN_E_UNSUPPORTED:
        return "unsupported";
    case EXN_E_NOMEM:
        return "out of memory";
    case EXN_E_FORMAT:
        return "malformed file";
    case EXN_E_IO:
        return "input or output failed";
    case EXN_E_SHAPE:
        return "shapes do not fit";
    case EXN_E_BUSY:
        return "busy";
    }
    return "unknown status";
}
