/* SPDX-License-Identifier: Apache-2.0
 * Command lines: long options with values, operands, and messages about what is wrong with them. */
#ifndef EXN_TOOLS_ARGS_H
#define EXN_TOOLS_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#define EXN_OPTIONS_MAX 32u

typedef struct exn_option {
    const char *name;  /* without the dashes; NULL ends a table */
    const char *value; /* what --help calls its value; NULL: a switch */
    const char *help;
    char letter; /* one-letter form, or 0 */
} exn_option;

typedef struct exn_args {
    const exn_option *options;
    const char *value[EXN_OPTIONS_MAX]; /* in the table's order; NULL: not given; a switch has "" */
    char **operands;                    /* points into argv, which is rearranged */
    size_t operand_count;
    char message[256]; /* of the last failure; "" if none */
} exn_args;

/* Reads argv (without program and command names). "--name VALUE", "--name=VALUE", "-o VALUE"; "--" ends the options;
 * the last of repeated options counts. False: message says which option is unknown or lacks its value. */
bool exn_args_parse(exn_args *args, const exn_option *options, int argc, char **argv);
/* NULL: not given. The name must be in the table. */
const char *exn_args_text(const exn_args *args, const char *name);
/* The functions below leave *out alone and return true when the option was not given; false: message says what it takes. */
bool exn_args_count(size_t *out, exn_args *args, const char *name, size_t least, size_t most);
bool exn_args_number(double *out, exn_args *args, const char *name, double least, double most);
/* One number for all three, or three with commas between. */
bool exn_args_triple(float out[3], exn_args *args, const char *name, double least, double most);
/* Index in a NULL-terminated list. */
bool exn_args_choice(size_t *out, exn_args *args, const char *name, const char *const *choices);

#endif
