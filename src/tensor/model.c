/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model: opens a file, finds out what it is, and answers what is in it.
 *
 *     TFLite: "TFL3" at byte 4. ONNX has no mark: its first field is a number, ir_version, or
 *     another of ModelProto's, which the importer finds out.
 */
#include "tensor/model.h"

#include "tensor/cost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *quire_model_type_name(enum quire_model_type type)
{
    static const char *const names[QUIRE_MODEL_N_TYPES] = {
        "untyped", "f32", "f16", "bf16", "f64",  "i4",     "i8",  "i16",  "i32",     "i64",
        "u8",      "u16", "u32", "u64",  "bool", "string", "c64", "c128", "resource"};
    return type < QUIRE_MODEL_N_TYPES ? names[type] : "untyped";
}

static bool is_tflite(const uint8_t *bytes, size_t n_bytes)
{
    return n_bytes >= 8 && memcmp(bytes + 4, "TFL3", 4) == 0;
}

/* Fields of a ModelProto that a file can begin with: numbers or pieces, 1 to 8, 14, 20, 25. */
static bool may_be_onnx(const uint8_t *bytes, size_t n_bytes)
{
    if (n_bytes < 2)
        return false;
    unsigned field = bytes[0] >> 3, kind = bytes[0] & 7;
    bool is_number = field == 1 || field == 5;
    return bytes[0] < 0x80 &&
           ((is_number && kind == 0) || (!is_number && kind == 2 && field >= 2 && field <= 14));
}

static int import(struct quire_model *model, const char *directory,
                  const struct quire_model_options *options)
{
    struct graph *graph = &model->graph;
    int error;
    if (is_tflite(model->bytes, model->n_bytes))
        error = tflite_import(graph, model->bytes, model->n_bytes,
                              options == NULL ? 0 : options->subgraph);
    else if (may_be_onnx(model->bytes, model->n_bytes))
        error = onnx_import(graph, model->bytes, model->n_bytes, directory, &model->files);
    else
        error = graph_refuse(graph, -ENOEXEC, "this is neither an ONNX nor a TFLite file");
    if (error == 0)
        error = graph_settle(graph);
    if (error == 0)
        error = graph_validate(graph);
    if (error == 0)
        cost_estimate(graph);
    return error;
}

int quire_model_read(const void *bytes, size_t n_bytes, const char *directory,
                     const struct quire_model_options *options, struct quire_model **model,
                     char *message)
{
    struct quire_model *made = calloc(1, sizeof *made);
    message[0] = '\0';
    *model = NULL;
    if (made == NULL)
        return -ENOMEM;
    graph_init(&made->graph, options, message);
    made->bytes = bytes;
    made->n_bytes = n_bytes;
    int error = import(made, directory, options);
    /* What was the caller's for this call is not kept. */
    made->graph.message = NULL;
    made->graph.shapes = NULL;
    if (error != 0) {
        if (message[0] == '\0')
            snprintf(message, QUIRE_MODEL_MESSAGE_BYTES, "%s", strerror(-error));
        quire_model_close(made);
        return error;
    }
    *model = made;
    return 0;
}

static int map_file(const char *path, void **bytes, size_t *n_bytes)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &status) < 0     ? -errno
                : S_ISDIR(status.st_mode)  ? -EISDIR
                : !S_ISREG(status.st_mode) ? -EINVAL
                                           : 0;
    *bytes = NULL;
    *n_bytes = error == 0 ? (size_t)status.st_size : 0;
    if (*n_bytes > 0) {
        *bytes = mmap(NULL, *n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        error = *bytes == MAP_FAILED ? -errno : 0;
    }
    close(fd);
    return error;
}

int quire_model_open(const char *path, const struct quire_model_options *options,
                     struct quire_model **model, char *message)
{
    void *bytes = NULL;
    size_t n_bytes = 0;
    char directory[4096];
    *model = NULL;
    int error = map_file(path, &bytes, &n_bytes);
    if (error != 0) {
        snprintf(message, QUIRE_MODEL_MESSAGE_BYTES, "%s",
                 error == -EINVAL ? "no regular file" : strerror(-error));
        return error;
    }
    const char *slash = strrchr(path, '/');
    snprintf(directory, sizeof directory, "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
             slash == NULL ? "." : path);
    error = quire_model_read(bytes, n_bytes, directory, options, model, message);
    if (error != 0 && n_bytes > 0)
        munmap(bytes, n_bytes);
    if (error == 0)
        (*model)->is_mapped = true;
    return error;
}

void quire_model_close(struct quire_model *model)
{
    if (model == NULL)
        return;
    graph_free(&model->graph);
    onnx_files_close(model->files);
    if (model->is_mapped)
        munmap((void *)(uintptr_t)model->bytes, model->n_bytes);
    free(model);
}

void quire_model_facts(const struct quire_model *model, struct quire_model_facts *facts)
{
    const struct graph *graph = &model->graph;
    *facts = (struct quire_model_facts){.format = graph->format,
                                        .n_tensors = graph->n_tensors,
                                        .n_operators = graph->n_operators,
                                        .n_conflicts = graph->n_conflicts,
                                        .n_bounds = graph->n_bounds};
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        const struct graph_tensor *tensor = &graph->tensors[i];
        bool is_used = tensor->role != QUIRE_MODEL_ACTIVATION || tensor->producer != GRAPH_NONE;
        facts->n_opaque += is_used && tensor->is_opaque;
        if (graph_is_dynamic(tensor))
            facts->dynamic_bytes += is_used ? tensor->n_bytes : 0;
        else
            facts->static_bytes += tensor->n_bytes;
    }
    for (uint32_t i = 0; i < graph->n_operators; i++)
        facts->cost += graph->operators[i].cost;
}

void quire_model_tensor(const struct quire_model *model, uint32_t index,
                        struct quire_model_tensor *tensor)
{
    const struct graph_tensor *from = &model->graph.tensors[index];
    *tensor = (struct quire_model_tensor){
        from->name,      from->type, from->role, from->is_output, from->is_bound,
        from->is_opaque, from->rank, from->dims, from->n_bytes,   from->data};
}

void quire_model_operator(const struct quire_model *model, uint32_t index,
                          struct quire_model_operator *operator_)
{
    const struct graph_operator *from = &model->graph.operators[index];
    *operator_ = (struct quire_model_operator){from->type,
                                               from->name,
                                               from->n_inputs,
                                               from->n_outputs,
                                               graph_inputs(&model->graph, from),
                                               graph_outputs(&model->graph, from),
                                               from->cost};
}
