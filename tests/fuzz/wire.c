/* SPDX-License-Identifier: Apache-2.0
 * Mutates an ONNX file field by field and keeps the lengths around the field true: flipped bytes alone seldom leave a file
 * that decodes. Only in libFuzzer's builds. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed);

enum { FIELDS_MAX = 4096, PAYLOAD_MAX = 1 << 16, VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
typedef enum message {
    LEAF,
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

/* What lies in a field of a message; LEAF: no message that the importer looks into. */
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

typedef struct field {
    const uint8_t *begin, *payload, *end;
    uint64_t number;
    unsigned wire;
    message of, is;
} field;

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
    uint64_t tag, length = 0;
    *out = (field){.begin = at, .of = of};
    if ((at = take_varint(&tag, at, end)) == NULL) return false;
    out->number = tag >> 3;
    out->wire = tag & 7;
    out->payload = at;
    if (out->wire == VARINT)
        at = take_varint(&length, at, end);
    else if (out->wire == BYTES && (at = take_varint(&length, at, end)) != NULL)
        out->payload = at;
    else if (out->wire == FIXED64 || out->wire == FIXED32)
        length = out->wire == FIXED64 ? 8 : 4;
    if (at == NULL || (out->wire != VARINT && length > (uint64_t)(end - at)) || out->wire == 3 || out->wire == 4 ||
        out->wire > FIXED32)
        return false;
    out->end = out->wire == VARINT ? at : at + length;
    out->is = out->wire == BYTES ? inside(of, out->number) : LEAF;
    return true;
}

typedef struct list {
    field fields[FIELDS_MAX];
    size_t count;
} list;

static void collect(list *all, message of, const uint8_t *at, const uint8_t *end) {
    field next;
    for (; at < end && all->count < FIELDS_MAX && take_field(&next, of, at, end); at = next.end) {
        all->fields[all->count++] = next;
        if (next.is != LEAF) collect(all, next.is, next.payload, next.end);
    }
}

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

/* What happens to one field: `put` bytes stand in its place. */
typedef struct edit {
    const uint8_t *at;
    uint8_t put[2 * PAYLOAD_MAX + 64];
    size_t count;
} edit;

/* Copies a message with the edit made; every length on the way is written anew. */
static void copy(sink *to, message of, const uint8_t *at, const uint8_t *end, const edit *change) {
    field next;
    for (; at < end && take_field(&next, of, at, end); at = next.end) {
        if (next.begin == change->at) {
            put(to, change->put, change->count);
        } else if (next.is != LEAF && change->at > next.begin && change->at < next.end) {
            sink inner = {malloc(to->most), 0, to->most};
            if (inner.bytes == NULL) return;
            copy(&inner, next.is, next.payload, next.end, change);
            put_varint(to, next.number << 3 | BYTES);
            put_varint(to, inner.count);
            put(to, inner.bytes, inner.count <= inner.most ? inner.count : inner.most);
            free(inner.bytes);
        } else {
            put(to, next.begin, (size_t)(next.end - next.begin));
        }
    }
    put(to, at, (size_t)(end - at));
}

static uint32_t draw(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static uint64_t some_number(uint64_t old, uint64_t *state) {
    static const uint64_t odd[] = {0,
                                   1,
                                   2,
                                   3,
                                   4,
                                   7,
                                   8,
                                   11,
                                   13,
                                   17,
                                   64,
                                   255,
                                   256,
                                   1024,
                                   UINT32_MAX,
                                   INT64_MAX,
                                   UINT64_MAX,
                                   (uint64_t)INT64_MIN,
                                   UINT64_MAX - 1,
                                   (uint64_t)1 << 31,
                                   65536};
    switch (draw(state) % 4) {
    case 0:
        return old + 1;
    case 1:
        return old - 1;
    case 2:
        return draw(state) % 16;
    default:
        return odd[draw(state) % (sizeof odd / sizeof odd[0])];
    }
}

/* The field with another payload. */
static void change_payload(sink *to, const field *of, uint64_t *state) {
    static uint8_t block[PAYLOAD_MAX];
    size_t size = (size_t)(of->end - of->payload);
    put_varint(to, of->number << 3 | of->wire);
    if (of->wire == VARINT) {
        uint64_t old = 0;
        take_varint(&old, of->payload, of->end);
        put_varint(to, some_number(old, state));
        return;
    }
    if (size > PAYLOAD_MAX / 2) size = PAYLOAD_MAX / 2;
    memcpy(block, of->payload, size);
    if (of->wire != BYTES) {
        block[draw(state) % size] = (uint8_t)draw(state);
    } else {
        size = LLVMFuzzerMutate(block, size, size + 16);
        put_varint(to, size);
    }
    put(to, block, size);
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed) {
    static list all;
    static edit change;
    uint64_t state = seed;
    all.count = 0;
    draw(&state);
    if (draw(&state) % 16 != 0) collect(&all, MODEL, bytes, bytes + size);
    if (all.count == 0) return LLVMFuzzerMutate(bytes, size, most);
    const field *at = &all.fields[draw(&state) % all.count], *other = &all.fields[draw(&state) % all.count];
    for (size_t i = 0; i < 64 && (other->of != at->of || other->number != at->number); i++)
        other = &all.fields[draw(&state) % all.count];
    const uint32_t kind = draw(&state) % 8;
    sink to = {change.put, 0, sizeof change.put};
    change.at = at->begin;
    if (kind == 0) { /* nothing stands in its place */
    } else if (kind == 1) {
        put(&to, at->begin, (size_t)(at->end - at->begin));
        put(&to, other->begin, (size_t)(other->end - other->begin));
    } else if (kind == 2 && other->of == at->of) {
        put(&to, other->begin, (size_t)(other->end - other->begin));
    } else {
        change_payload(&to, at, &state);
    }
    sink result = {malloc(most), 0, most};
    change.count = to.count;
    if (result.bytes != NULL && to.count <= to.most) copy(&result, MODEL, bytes, bytes + size, &change);
    if (result.count > 0 && result.count <= most) {
        memcpy(bytes, result.bytes, result.count);
        size = result.count;
    }
    free(result.bytes);
    return size;
}
