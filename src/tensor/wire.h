/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: takes the weights out of a protobuf message before it is unpacked.
 *
 *     file     | ... TensorProto { name, dims, raw_data: 40 MB } ...
 *                                                 |
 *     skeleton | ... TensorProto { name, dims, raw_data: offset and length } ...
 *
 * protobuf-c copies all bytes that it unpacks. So the file is first copied without what is large:
 * in each TensorProto raw_data, float_data and double_data become a raw_data that is a struct
 * wire_data; doc_string and unknown fields are left out. Lengths are checked on the way, and how
 * deep messages lie in messages: protobuf-c unpacks them recursively without a bound.
 *
 * Source: "Encoding" of the Protocol Buffers documentation.
 */
#ifndef QUIRE_TENSOR_WIRE_H
#define QUIRE_TENSOR_WIRE_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct wire_data {
    uint64_t offset, length; /* in the file */
    uint64_t field;          /* which of TensorProto it was */
};

enum { WIRE_FLOAT_DATA = 4, WIRE_RAW_DATA = 9, WIRE_DOUBLE_DATA = 10 };

struct wire_skeleton {
    uint8_t *bytes; /* to be freed by free() */
    size_t n_bytes, room;
};

/*
 * `root` describes the message, `tensor` TensorProto. 0; -EINVAL: this is no such message, and
 * *where is the offset of what is wrong; -ENOMEM. The skeleton's bytes are the caller's in any
 * case.
 */
int wire_cut(const uint8_t *bytes, size_t n_bytes, const ProtobufCMessageDescriptor *root,
             const ProtobufCMessageDescriptor *tensor, struct wire_skeleton *skeleton,
             size_t *where);

#endif
