/* SPDX-License-Identifier: Apache-2.0 */
/*
 * onnx_tensor: types, constants and attributes of an ONNX file.
 *
 * Contents of constants stay in the file, or in files beside it (external data), and are mapped.
 * Only what is stored as a list of numbers of another width (int8 in int32_data) is copied.
 */
#include "base/checked.h"
#include "tensor/onnx.h"
#include "tensor/wire.h"

#include "tensor/shapes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct onnx_files {
    struct onnx_files *next;
    char *name; /* as the model has it */
    void *bytes;
    size_t n_bytes;
};

enum quire_model_type onnx_type(int32_t number)
{
    return shape_type_number(number);
}

/* External data */

void onnx_files_close(struct onnx_files *files)
{
    while (files != NULL) {
        struct onnx_files *next = files->next;
        if (files->n_bytes > 0)
            munmap(files->bytes, files->n_bytes);
        free(files->name);
        free(files);
        files = next;
    }
}

/* Whether a path stays within the model's directory. */
static bool stays_inside(const char *path)
{
    if (path[0] == '/' || path[0] == '\0')
        return false;
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return true;
}

static int map_file(const char *path, struct onnx_files *file)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &status) < 0 ? -errno : S_ISREG(status.st_mode) ? 0 : -EINVAL;
    if (error == 0 && status.st_size > 0) {
        file->bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        error = file->bytes == MAP_FAILED ? -errno : 0;
        file->n_bytes = error == 0 ? (size_t)status.st_size : 0;
    }
    close(fd);
    return error;
}

static int open_file(struct onnx *onnx, const struct graph_tensor *tensor, const char *location,
                     const struct onnx_files **result)
{
    char path[4096];
    for (struct onnx_files *file = onnx->files; file != NULL; file = file->next) {
        if (strcmp(file->name, location) == 0) {
            *result = file;
            return 0;
        }
    }
    if (onnx->directory == NULL)
        return graph_refuse(onnx->graph, -ENOTSUP,
                            "the constant '%s' is in another file, '%s': only a model that is "
                            "opened by its path can have such",
                            tensor->name, location);
    if (!stays_inside(location))
        return graph_refuse(onnx->graph, -EINVAL,
                            "the constant '%s' is in '%s', which is not below the model's "
                            "directory",
                            tensor->name, location);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", onnx->directory, location) >= sizeof path)
        return -ENAMETOOLONG;
    struct onnx_files *file = calloc(1, sizeof *file);
    if (file == NULL)
        return -ENOMEM;
    file->name = strdup(location);
    int error = file->name == NULL ? -ENOMEM : map_file(path, file);
    if (error != 0) {
        onnx_files_close(file);
        return graph_refuse(onnx->graph, error, "the file '%s' with the constant '%s': %s", path,
                            tensor->name, strerror(-error));
    }
    file->next = onnx->files;
    onnx->files = file;
    *result = file;
    return 0;
}

static int read_external(struct onnx *onnx, const Onnx__TensorProto *from,
                         struct graph_tensor *tensor)
{
    const char *location = "";
    unsigned long long offset = 0, length = tensor->n_bytes;
    const struct onnx_files *file;
    for (size_t i = 0; i < from->n_external_data; i++) {
        const char *key = onnx_text(from->external_data[i]->key);
        const char *value = onnx_text(from->external_data[i]->value);
        if (strcmp(key, "location") == 0)
            location = value;
        else if (strcmp(key, "offset") == 0)
            offset = strtoull(value, NULL, 10);
        else if (strcmp(key, "length") == 0)
            length = strtoull(value, NULL, 10);
    }
    int error = open_file(onnx, tensor, location, &file);
    if (error != 0)
        return error;
    if (offset > file->n_bytes || length > file->n_bytes - offset)
        return graph_refuse(onnx->graph, -EINVAL,
                            "the file '%s' is too short for the constant '%s': %zu bytes", location,
                            tensor->name, file->n_bytes);
    tensor->data = (const uint8_t *)file->bytes + offset;
    tensor->data_bytes = length;
    return 0;
}

/* Constants */

/* Numbers that are stored wider than they are: the low bytes of each. */
static int narrow(struct onnx *onnx, const Onnx__TensorProto *from, struct graph_tensor *tensor)
{
    size_t size = graph_type_bits(tensor->type) / 8;
    if (tensor->type == QUIRE_MODEL_I32) {
        tensor->data = (const uint8_t *)from->int32_data;
        tensor->data_bytes = from->n_int32_data * sizeof *from->int32_data;
        return 0;
    }
    if (size == 0 || size > 2)
        return 0;
    uint8_t *copy = bump_take(&onnx->graph->bump, from->n_int32_data, size);
    if (copy == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < from->n_int32_data; i++)
        memcpy(copy + i * size, &from->int32_data[i], size);
    tensor->data = copy;
    tensor->data_bytes = from->n_int32_data * size;
    return 0;
}

static int read_numbers(struct onnx *onnx, const Onnx__TensorProto *from,
                        struct graph_tensor *tensor)
{
    if (from->has_raw_data && from->raw_data.len == sizeof(struct wire_data)) {
        struct wire_data data;
        memcpy(&data, from->raw_data.data, sizeof data);
        tensor->data = onnx->bytes + data.offset;
        tensor->data_bytes = data.length;
    } else if (from->n_float_data > 0) {
        tensor->data = (const uint8_t *)from->float_data;
        tensor->data_bytes = from->n_float_data * sizeof *from->float_data;
    } else if (from->n_double_data > 0) {
        tensor->data = (const uint8_t *)from->double_data;
        tensor->data_bytes = from->n_double_data * sizeof *from->double_data;
    } else if (from->n_int64_data > 0) {
        tensor->data = (const uint8_t *)from->int64_data;
        tensor->data_bytes = from->n_int64_data * sizeof *from->int64_data;
    } else if (from->n_uint64_data > 0 && tensor->type == QUIRE_MODEL_U64) {
        tensor->data = (const uint8_t *)from->uint64_data;
        tensor->data_bytes = from->n_uint64_data * sizeof *from->uint64_data;
    } else if (from->n_int32_data > 0) {
        return narrow(onnx, from, tensor);
    }
    return 0;
}

int onnx_read_tensor(struct onnx *onnx, const Onnx__TensorProto *from, struct graph_tensor *tensor)
{
    uint64_t n;
    tensor->type = onnx_type(from->data_type);
    if (tensor->type == QUIRE_MODEL_UNTYPED)
        return graph_refuse(onnx->graph, -ENOTSUP,
                            "the constant '%s' has type %d, which is not "
                            "known",
                            tensor->name, from->data_type);
    for (size_t i = 0; i < from->n_dims; i++) {
        if (from->dims[i] < 0)
            return graph_refuse(onnx->graph, -EINVAL, "the constant '%s' has a negative dimension",
                                tensor->name);
    }
    int error = graph_set_shape(onnx->graph, tensor,
                                from->n_dims > UINT32_MAX ? UINT32_MAX : (uint32_t)from->n_dims,
                                from->dims);
    if (error != 0)
        return error;
    if (!graph_count(tensor, &n))
        return graph_refuse(onnx->graph, -EOVERFLOW,
                            "the size of the constant '%s' does not fit "
                            "in 2^56 bytes",
                            tensor->name);
    if (tensor->type == QUIRE_MODEL_STRING)
        return 0;
    tensor->n_bytes = n * (graph_type_bits(tensor->type) / 8);
    if (from->has_data_location &&
        from->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        error = read_external(onnx, from, tensor);
    else
        error = read_numbers(onnx, from, tensor);
    if (error == 0 && tensor->data != NULL && tensor->data_bytes != tensor->n_bytes)
        return graph_refuse(onnx->graph, -EINVAL,
                            "the constant '%s' has %llu bytes, but its shape says %llu",
                            tensor->name, (unsigned long long)tensor->data_bytes,
                            (unsigned long long)tensor->n_bytes);
    return error;
}

/* Types */

static int64_t read_dim(struct onnx *onnx, const Onnx__TensorShapeProto__Dimension *dim)
{
    switch (dim->value_case) {
    case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE:
        return dim->dim_value;
    case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM:
        return graph_given_dim(onnx->graph, onnx_text(dim->dim_param));
    default:
        return GRAPH_UNKNOWN_DIM;
    }
}

int onnx_read_type(struct onnx *onnx, const Onnx__TypeProto *from, struct graph_tensor *tensor)
{
    int64_t dims[GRAPH_MAX_RANK];
    if (from == NULL || from->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET)
        return 0;
    if (from->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || from->tensor_type == NULL) {
        tensor->is_opaque = true;
        return 0;
    }
    const Onnx__TensorShapeProto *shape = from->tensor_type->shape;
    tensor->type = onnx_type(from->tensor_type->elem_type);
    if (shape == NULL)
        return 0;
    for (size_t i = 0; i < shape->n_dim && i < GRAPH_MAX_RANK; i++)
        dims[i] = read_dim(onnx, shape->dim[i]);
    return graph_set_shape(onnx->graph, tensor,
                           shape->n_dim > UINT32_MAX ? UINT32_MAX : (uint32_t)shape->n_dim, dims);
}

/* Attributes */

const Onnx__AttributeProto *onnx_attribute(const struct onnx_frame *frame,
                                           const Onnx__NodeProto *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__AttributeProto *attribute = node->attribute[i];
        if (strcmp(onnx_text(attribute->name), name) != 0)
            continue;
        if (onnx_text(attribute->ref_attr_name)[0] == '\0')
            return attribute;
        return frame->call == NULL
                   ? NULL
                   : onnx_attribute(frame->caller, frame->call, attribute->ref_attr_name);
    }
    return NULL;
}

static const char *terminated(struct onnx *onnx, const ProtobufCBinaryData *bytes)
{
    return bump_text(&onnx->graph->bump, (const char *)bytes->data, bytes->len);
}

static int read_attribute(struct onnx *onnx, const Onnx__AttributeProto *from,
                          struct graph_attribute *attribute)
{
    attribute->i = from->i;
    attribute->f = from->f;
    if (from->t != NULL) {
        struct graph_tensor *tensor = bump_take(&onnx->graph->bump, 1, sizeof *tensor);
        if (tensor == NULL)
            return -ENOMEM;
        tensor->name = attribute->name;
        attribute->kind = GRAPH_TENSOR;
        attribute->tensor = tensor;
        return onnx_read_tensor(onnx, from->t, tensor);
    }
    if (from->n_ints > 0 || from->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS) {
        attribute->kind = GRAPH_INTS;
        attribute->n = (uint32_t)from->n_ints;
        attribute->ints = from->ints == NULL ? &attribute->i : from->ints;
    } else if (from->n_floats > 0 || from->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS) {
        attribute->kind = GRAPH_FLOATS;
        attribute->n = (uint32_t)from->n_floats;
        attribute->floats = from->floats;
    } else if (from->has_s) {
        attribute->kind = GRAPH_TEXT;
        attribute->text = terminated(onnx, &from->s);
        return attribute->text == NULL ? -ENOMEM : 0;
    } else if (from->has_f) {
        attribute->kind = GRAPH_FLOAT;
    } else {
        attribute->kind = from->has_i ? GRAPH_INT : GRAPH_TYPE;
    }
    return 0;
}

int onnx_read_attributes(struct onnx *onnx, const struct onnx_frame *frame,
                         const Onnx__NodeProto *node, struct graph_operator *operator_)
{
    struct graph_attribute *attributes = bump_take(&onnx->graph->bump, node->n_attribute,
                                                   sizeof *attributes);
    if (attributes == NULL)
        return -ENOMEM;
    uint32_t n = 0;
    for (size_t i = 0; i < node->n_attribute; i++) {
        const char *name = onnx_text(node->attribute[i]->name);
        const Onnx__AttributeProto *from = onnx_attribute(frame, node, name);
        if (from == NULL)
            continue;
        attributes[n].name = name;
        int error = read_attribute(onnx, from, &attributes[n++]);
        if (error != 0)
            return error;
    }
    operator_->attributes = attributes;
    operator_->n_attributes = n;
    return 0;
}
