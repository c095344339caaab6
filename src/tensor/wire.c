/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: see wire.h. Lengths of messages are written in LENGTH_BYTES, since they are known only when
 * the message has been copied.
 */
#include "tensor/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64u
#define LENGTH_BYTES 5u

enum { VARINT, FIXED64, BYTES, GROUP_BEGIN, GROUP_END, FIXED32 };

struct cutter {
    const uint8_t *bytes;
    size_t n_bytes, at;
    struct wire_skeleton *out;
    const ProtobufCMessageDescriptor *tensor;
};

static bool read_varint(struct cutter *cutter, size_t end, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && cutter->at < end; shift += 7) {
        uint8_t byte = cutter->bytes[cutter->at++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool append(struct wire_skeleton *out, const void *bytes, size_t n_bytes)
{
    if (out->room - out->n_bytes < n_bytes) {
        size_t room = 2 * out->room + n_bytes + 4096;
        uint8_t *larger = realloc(out->bytes, room);
        if (larger == NULL)
            return false;
        out->bytes = larger;
        out->room = room;
    }
    if (n_bytes > 0)
        memcpy(out->bytes + out->n_bytes, bytes, n_bytes);
    out->n_bytes += n_bytes;
    return true;
}

static bool append_varint(struct wire_skeleton *out, uint64_t value, unsigned at_least)
{
    uint8_t bytes[10];
    unsigned n = 0;
    do {
        bytes[n] = (uint8_t)(value & 0x7f);
        value >>= 7;
        n++;
        if (value > 0 || n < at_least)
            bytes[n - 1] |= 0x80;
    } while (value > 0 || n < at_least);
    return append(out, bytes, n);
}

static int cut_message(struct cutter *cutter, size_t end, const ProtobufCMessageDescriptor *message,
                       unsigned depth);

/* A message within a message. */
static int cut_inner(struct cutter *cutter, uint64_t key, size_t end,
                     const ProtobufCMessageDescriptor *message, unsigned depth)
{
    struct wire_skeleton *out = cutter->out;
    if (depth == MAX_DEPTH)
        return -EINVAL;
    if (!append_varint(out, key, 1) || !append_varint(out, 0, LENGTH_BYTES))
        return -ENOMEM;
    size_t first = out->n_bytes;
    int error = cut_message(cutter, end, message, depth + 1);
    uint64_t length = out->n_bytes - first;
    if (error == 0 && length >> 32 != 0)
        return -EINVAL;
    for (unsigned i = 0; error == 0 && i < LENGTH_BYTES; i++) {
        bool is_last = i == LENGTH_BYTES - 1;
        out->bytes[first - LENGTH_BYTES + i] = (uint8_t)((length >> (7 * i) & 0x7f) |
                                                         (is_last ? 0 : 0x80));
    }
    return error;
}

/* Where a tensor's contents lie, instead of them. */
static int cut_data(struct cutter *cutter, uint64_t field, size_t end)
{
    struct wire_data data = {cutter->at, end - cutter->at, field};
    cutter->at = end;
    return append_varint(cutter->out, WIRE_RAW_DATA << 3 | BYTES, 1) &&
                   append_varint(cutter->out, sizeof data, 1) &&
                   append(cutter->out, &data, sizeof data)
               ? 0
               : -ENOMEM;
}

static int cut_bytes(struct cutter *cutter, uint64_t key, size_t end,
                     const ProtobufCMessageDescriptor *message, unsigned depth)
{
    uint64_t length, number = key >> 3;
    if (!read_varint(cutter, end, &length) || length > end - cutter->at)
        return -EINVAL;
    end = cutter->at + length;
    const ProtobufCFieldDescriptor *field = number > UINT32_MAX
                                                ? NULL
                                                : protobuf_c_message_descriptor_get_field(
                                                      message, (unsigned)number);
    if (field == NULL || strcmp(field->name, "doc_string") == 0) {
        cutter->at = end;
        return 0;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return cut_inner(cutter, key, end, field->descriptor, depth);
    if (message == cutter->tensor &&
        (number == WIRE_RAW_DATA || number == WIRE_FLOAT_DATA || number == WIRE_DOUBLE_DATA))
        return cut_data(cutter, number, end);
    size_t from = cutter->at;
    cutter->at = end;
    return append_varint(cutter->out, key, 1) && append_varint(cutter->out, length, 1) &&
                   append(cutter->out, cutter->bytes + from, length)
               ? 0
               : -ENOMEM;
}

/* Copies a number with its key; one of an unknown field is left out. */
static int cut_number(struct cutter *cutter, uint64_t key, size_t end,
                      const ProtobufCMessageDescriptor *message)
{
    size_t from = cutter->at;
    uint64_t value;
    if ((key & 7) == VARINT) {
        if (!read_varint(cutter, end, &value))
            return -EINVAL;
    } else {
        size_t n_bytes = (key & 7) == FIXED64 ? 8 : 4;
        if (end - cutter->at < n_bytes)
            return -EINVAL;
        cutter->at += n_bytes;
    }
    if (key >> 3 > UINT32_MAX ||
        protobuf_c_message_descriptor_get_field(message, (unsigned)(key >> 3)) == NULL)
        return 0;
    return append_varint(cutter->out, key, 1) &&
                   append(cutter->out, cutter->bytes + from, cutter->at - from)
               ? 0
               : -ENOMEM;
}

static int cut_message(struct cutter *cutter, size_t end, const ProtobufCMessageDescriptor *message,
                       unsigned depth)
{
    while (cutter->at < end) {
        uint64_t key;
        int error = -EINVAL;
        if (!read_varint(cutter, end, &key) || key >> 3 == 0)
            return -EINVAL;
        switch (key & 7) {
        case VARINT:
        case FIXED64:
        case FIXED32:
            error = cut_number(cutter, key, end, message);
            break;
        case BYTES:
            error = cut_bytes(cutter, key, end, message, depth);
            break;
        default: /* groups: none of ONNX's messages has any */
            break;
        }
        if (error != 0)
            return error;
    }
    return 0;
}

int wire_cut(const uint8_t *bytes, size_t n_bytes, const ProtobufCMessageDescriptor *root,
             const ProtobufCMessageDescriptor *tensor, struct wire_skeleton *skeleton,
             size_t *where)
{
    struct cutter cutter = {bytes, n_bytes, 0, skeleton, tensor};
    *skeleton = (struct wire_skeleton){0};
    int error = cut_message(&cutter, n_bytes, root, 0);
    *where = cutter.at;
    return error;
}
