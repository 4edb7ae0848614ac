/* SPDX-License-Identifier: Apache-2.0
 * Command lines read against a table of options. */
#include "tools/args.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool refuse(exn_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(exn_args *args, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(args->message, sizeof args->message, format, list);
    va_end(list);
    return false;
}

static size_t find_name(const exn_option *options, const char *name, size_t length) {
    for (size_t i = 0; options[i].name != NULL; i++)
        if (strlen(options[i].name) == length && memcmp(options[i].name, name, length) == 0) return i;
    return SIZE_MAX;
}

static size_t find_letter(const exn_option *options, char letter) {
    for (size_t i = 0; options[i].name != NULL; i++)
        if (options[i].letter == letter) return i;
    return SIZE_MAX;
}

/* Reads the option at argv[*at], and its value from there or from the next word. */
static bool take_option(exn_args *args, int *at, int argc, char **argv) {
    const char *word = argv[*at];
    const char *inline_value = NULL;
    size_t which;
    if (word[1] == '-') {
        const char *equals = strchr(word, '=');
        const size_t length = equals != NULL ? (size_t)(equals - word - 2) : strlen(word + 2);
        which = find_name(args->options, word + 2, length);
        if (equals != NULL) inline_value = equals + 1;
    } else {
        which = word[2] == '\0' ? find_letter(args->options, word[1]) : SIZE_MAX;
    }
    if (which == SIZE_MAX) return refuse(args, "unknown option %s (--help lists them)", word);
    const exn_option *option = &args->options[which];
    if (option->value == NULL) {
        if (inline_value != NULL) return refuse(args, "option --%s takes no value", option->name);
        args->value[which] = "";
        return true;
    }
    if (inline_value == NULL) {
        if (*at + 1 >= argc) return refuse(args, "missing value: --%s %s", option->name, option->value);
        inline_value = argv[++*at];
    }
    args->value[which] = inline_value;
    return true;
}

bool exn_args_parse(exn_args *args, const exn_option *options, int argc, char **argv) {
    memset(args, 0, sizeof *args);
    args->options = options;
    args->operands = argv;
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        char *word = argv[i];
        if (only_operands || word[0] != '-' || word[1] == '\0') {
            args->operands[args->operand_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (!take_option(args, &i, argc, argv)) {
            return false;
        }
    }
    return true;
}

const char *exn_args_text(const exn_args *args, const char *name) {
    const size_t which = find_name(args->options, name, strlen(name));
    return which == SIZE_MAX ? NULL : args->value[which];
}

bool exn_args_count(size_t *out, exn_args *args, const char *name, size_t least, size_t most) {
    const char *text = exn_args_text(args, name);
    if (text == NULL) return true;
    char *end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    const bool digits = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
    if (!digits || value < least || value > most)
        return refuse(args, "--%s takes a whole number from %zu to %zu, not '%s'", name, least, most, text);
    *out = (size_t)value;
    return true;
}

/* One number that ends at a comma or the end of the text; *end is where. */
static bool read_number(double *out, const char *text, const char **end) {
    char *stop = NULL;
    errno = 0;
    *out = strtod(text, &stop);
    *end = stop;
    return stop != text && isfinite(*out) && errno == 0 && (*stop == '\0' || *stop == ',');
}

bool exn_args_number(double *out, exn_args *args, const char *name, double least, double most) {
    const char *text = exn_args_text(args, name);
    if (text == NULL) return true;
    const char *end = NULL;
    double value = 0.0;
    if (!read_number(&value, text, &end) || *end != '\0' || value < least || value > most)
        return refuse(args, "--%s takes a number from %g to %g, not '%s'", name, least, most, text);
    *out = value;
    return true;
}

bool exn_args_triple(float out[3], exn_args *args, const char *name, double least, double most) {
    const char *text = exn_args_text(args, name);
    if (text == NULL) return true;
    double value[3] = {0.0, 0.0, 0.0};
    size_t count = 0;
    const char *at = text, *end = NULL;
    bool good = true;
    while (good && count < 3) {
        good = read_number(&value[count], at, &end) && value[count] >= least && value[count] <= most;
        count += good;
        if (!good || *end == '\0') break;
        at = end + 1;
    }
    if (!good || *end != '\0' || count == 2)
        return refuse(args, "--%s takes one number or three (%g to %g), not '%s'", name, least, most, text);
    for (size_t i = 0; i < 3; i++) out[i] = (float)value[count == 1 ? 0 : i];
    return true;
}

bool exn_args_choice(size_t *out, exn_args *args, const char *name, const char *const *choices) {
    const char *text = exn_args_text(args, name);
    if (text == NULL) return true;
    char list[128] = "";
    for (size_t i = 0; choices[i] != NULL; i++) {
        if (strcmp(choices[i], text) == 0) {
            *out = i;
            return true;
        }
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", choices[i]);
    }
    return refuse(args, "--%s takes one of %s, not '%s'", name, list, text);
}
