/* SPDX-License-Identifier: Apache-2.0
 * A target without libFuzzer: runs it over every file of the folders or files named, in byte order. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static size_t inputs;

static int replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        perror(path);
        if (file != NULL) fclose(file);
        return EXIT_FAILURE;
    }
    /* A block of just this size, so that a sanitizer sees one byte too many. */
    const size_t size = (size_t)info.st_size;
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    fuzz_assert(bytes != NULL && fread(bytes, 1, size, file) == size);
    fclose(file);
    fprintf(stderr, "%s\n", path); /* the last line of a crash names its input */
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    inputs++;
    return EXIT_SUCCESS;
}

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int replay(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) return replay_file(path);
    struct dirent **names = NULL;
    const int count = scandir(path, &names, visible, alphasort);
    int worst = count < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    for (int i = 0; i < count; i++) {
        char *inner = NULL;
        fuzz_assert(asprintf(&inner, "%s/%s", path, names[i]->d_name) >= 0);
        if (replay(inner) != EXIT_SUCCESS) worst = EXIT_FAILURE;
        free(inner);
        free(names[i]);
    }
    free(names);
    return worst;
}

int main(int count, char *arguments[]) {
    int worst = EXIT_SUCCESS;
    for (int i = 1; i < count; i++)
        if (replay(arguments[i]) != EXIT_SUCCESS) worst = EXIT_FAILURE;
    fprintf(stderr, "%zu inputs\n", inputs);
    return inputs > 0 ? worst : EXIT_FAILURE;
}
