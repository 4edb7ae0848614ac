/* SPDX-License-Identifier: Apache-2.0
 * libFuzzer's mutator for networks: flipped bytes seldom leave a file that decodes, so this changes one field of the file's
 * protobuf messages at a time, and writes the lengths of all messages around it anew. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed);

/* ---- what lies where in an ONNX file ---- */

typedef enum message {
    LEAF, /* nothing that the importer looks into */
    MODEL,
    GRAPH,
    NODE,
    ATTRIBUTE,
    TENSOR,
    ENTRY,
    PORT,
    TYPE,
    TENSOR_TYPE,
    SHAPE,
    DIM
} message;

/* The message in field `number` of a message. */
static message inside(message of, uint64_t number) {
    static const struct {
        message of;
        uint64_t number;
        message is;
    } rows[] = {{MODEL, 7, GRAPH},   {MODEL, 8, DIM},   {GRAPH, 1, NODE},       {GRAPH, 5, TENSOR},
                {GRAPH, 11, PORT},   {GRAPH, 12, PORT}, {NODE, 5, ATTRIBUTE},   {ATTRIBUTE, 5, TENSOR},
                {TENSOR, 13, ENTRY}, {PORT, 2, TYPE},   {TYPE, 1, TENSOR_TYPE}, {TENSOR_TYPE, 2, SHAPE},
                {SHAPE, 1, DIM}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].of == of && rows[i].number == number) return rows[i].is;
    return LEAF;
}

/* ---- reading ---- */

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */
enum { FIELDS_MAX = 4096 };

/* A field of a message `of`: begin, tag, perhaps a length, payload, end. */
typedef struct field {
    const uint8_t *begin, *payload, *end;
    uint64_t number;
    unsigned wire;
    message of, is;
} field;

typedef struct list {
    field fields[FIELDS_MAX];
    size_t count;
} list;

/* What follows the number, NULL where there is none. */
static const uint8_t *take_varint(uint64_t *out, const uint8_t *at, const uint8_t *end) {
    *out = 0;
    for (unsigned shift = 0; at < end && shift < 64; shift += 7) {
        *out |= (uint64_t)(*at & 127) << shift;
        if (*at++ < 128) return at;
    }
    return NULL;
}

/* The field at `at`; false where there is none. */
static bool take_field(field *out, message of, const uint8_t *at, const uint8_t *end) {
    uint64_t tag, length;
    *out = (field){.begin = at, .of = of};
    if ((at = take_varint(&tag, at, end)) == NULL) return false;
    out->number = tag >> 3;
    out->wire = tag & 7;
    out->payload = at;
    switch (out->wire) {
    case VARINT:
        out->end = take_varint(&length, at, end);
        return out->end != NULL;
    case FIXED64:
        length = 8;
        break;
    case FIXED32:
        length = 4;
        break;
    case BYTES:
        if ((out->payload = take_varint(&length, at, end)) == NULL) return false;
        out->is = inside(of, out->number);
        break;
    default:
        return false;
    }
    if (length > (uint64_t)(end - out->payload)) return false;
    out->end = out->payload + length;
    return true;
}

/* All fields of a message, and of those inside it. */
static void collect(list *all, message of, const uint8_t *at, const uint8_t *end) {
    field next;
    for (; at < end && all->count < FIELDS_MAX && take_field(&next, of, at, end); at = next.end) {
        all->fields[all->count++] = next;
        if (next.is != LEAF) collect(all, next.is, next.payload, next.end);
    }
}

/* ---- writing ---- */

/* Counts what does not fit, too: count > most says that something is missing. */
typedef struct sink {
    uint8_t *bytes;
    size_t count, most;
} sink;

static void put(sink *to, const uint8_t *bytes, size_t count) {
    if (to->count + count <= to->most) memcpy(to->bytes + to->count, bytes, count);
    to->count += count;
}

static void put_varint(sink *to, uint64_t value) {
    uint8_t bytes[10];
    size_t count = 0;
    for (; value > 127; value >>= 7) bytes[count++] = (uint8_t)(value | 128);
    bytes[count++] = (uint8_t)value;
    put(to, bytes, count);
}

static void put_tag(sink *to, uint64_t number, unsigned wire) {
    put_varint(to, number << 3 | wire);
}

static void put_field(sink *to, const field *of) {
    put(to, of->begin, (size_t)(of->end - of->begin));
}

/* A message with `instead` in the place of the field at `place`, and true lengths around it. */
static void put_changed(sink *to, message of, const uint8_t *at, const uint8_t *end, const uint8_t *place,
                        const sink *instead) {
    field next;
    for (; at < end && take_field(&next, of, at, end); at = next.end) {
        if (next.begin == place) {
            put(to, instead->bytes, instead->count);
        } else if (next.is != LEAF && place > next.begin && place < next.end) {
            sink inner = {malloc(to->most), 0, to->most};
            if (inner.bytes == NULL) return;
            put_changed(&inner, next.is, next.payload, next.end, place, instead);
            put_tag(to, next.number, BYTES);
            put_varint(to, inner.count);
            put(to, inner.bytes, inner.count <= inner.most ? inner.count : inner.most);
            free(inner.bytes);
        } else {
            put_field(to, &next);
        }
    }
    put(to, at, (size_t)(end - at)); /* what is no field */
}

/* ---- choosing ---- */

enum { PAYLOAD_MAX = 1 << 16 };

static uint32_t draw(uint64_t *state, size_t below) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % below);
}

static uint64_t some_number(uint64_t old, uint64_t *state) {
    static const uint64_t odd[] = {
        0,         1,   2,   3,    4,        7,        8,          11,        13,         17,
        64,        255, 256, 1024, 1u << 16, 1u << 31, UINT32_MAX, INT64_MAX, 1ull << 63, UINT64_MAX - 1,
        UINT64_MAX};
    switch (draw(state, 4)) {
    case 0:
        return old + 1;
    case 1:
        return old - 1;
    case 2:
        return draw(state, 16);
    default:
        return odd[draw(state, sizeof odd / sizeof odd[0])];
    }
}

static bool is_operator(const field *of) {
    return of->of == NODE && of->number == 4 && of->wire == BYTES;
}

/* The name of an operator that the importer knows. */
static void put_operator(sink *to, uint64_t *state) {
#define EXN_OP_ROW(name, least, most, rule, lower) #name,
    static const char *const names[] = {
#include "graph/ops.inc"
    };
    const char *name = names[draw(state, sizeof names / sizeof names[0])];
    put_varint(to, strlen(name));
    put(to, (const uint8_t *)name, strlen(name));
}

/* The field with another payload. */
static void put_mutated(sink *to, const field *of, uint64_t *state) {
    static uint8_t payload[PAYLOAD_MAX];
    size_t size = (size_t)(of->end - of->payload);
    put_tag(to, of->number, of->wire);
    if (of->wire == VARINT) {
        uint64_t old = 0;
        take_varint(&old, of->payload, of->end);
        put_varint(to, some_number(old, state));
        return;
    }
    if (is_operator(of) && draw(state, 4) != 0) {
        put_operator(to, state);
        return;
    }
    if (size > PAYLOAD_MAX / 2) size = PAYLOAD_MAX / 2;
    memcpy(payload, of->payload, size);
    if (of->wire == BYTES) {
        size = LLVMFuzzerMutate(payload, size, size + 16);
        put_varint(to, size);
    } else {
        payload[draw(state, size)] = (uint8_t)draw(state, 256);
    }
    put(to, payload, size);
}

/* A field to change, and another, of the same kind where a few draws find one. */
static void choose(const field **one, const field **other, const list *all, uint64_t *state) {
    *one = &all->fields[draw(state, all->count)];
    for (size_t i = 0; i < 64; i++) {
        *other = &all->fields[draw(state, all->count)];
        if ((*other)->of == (*one)->of && (*other)->number == (*one)->number) return;
    }
}

/* Removes a field, adds another after it, puts another in its place, or changes what it holds. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed) {
    static list all;
    static uint8_t block[2 * PAYLOAD_MAX];
    const field *one, *other;
    uint64_t state = seed;
    all.count = 0;
    draw(&state, 1); /* the first depends little on the seed */
    if (draw(&state, 16) != 0) collect(&all, MODEL, bytes, bytes + size);
    if (all.count == 0) return LLVMFuzzerMutate(bytes, size, most);
    choose(&one, &other, &all, &state);
    const uint32_t kind = draw(&state, 8);
    sink instead = {block, 0, sizeof block};
    if (kind == 1) put_field(&instead, one);
    if (kind == 1 || (kind == 2 && other->of == one->of))
        put_field(&instead, other);
    else if (kind != 0)
        put_mutated(&instead, one, &state);
    sink result = {malloc(most), 0, most};
    if (result.bytes != NULL && instead.count <= instead.most)
        put_changed(&result, MODEL, bytes, bytes + size, one->begin, &instead);
    if (result.count > 0 && result.count <= most) {
        memcpy(bytes, result.bytes, result.count);
        size = result.count;
    }
    free(result.bytes);
    return size;
}
