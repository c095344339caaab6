/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/model.h: from a neural network's file to the buffers that it needs, and when.
 *
 *     .onnx, .tflite --quire_model_open()--> model --quire_model_schedule()--> schedule
 *                                                                                 |  buffers
 *                                       quire_tensor_place() (quire/tensor.h) <---'
 *
 * A model has static memory (weights and other constants, which nothing here places) and dynamic
 * memory (activations, inputs and outputs). A schedule is the order in which the operators run,
 * with the lifetime of each buffer counted in its steps, and what was done to need less:
 *
 *     in place    an operator writes into its input's bytes; reshape, squeeze, slice, split and
 *                 concat move nothing where the bytes lie right already
 *     order       another order with the same dependencies
 *     recompute   a tensor is dropped and computed again before it is needed the next time
 *     offload     it is written out and fetched again instead
 *
 * Files are mapped and weights are read from where they lie. A file is never trusted: whatever is
 * in it, a call returns a model or an error with its reason.
 *
 * Thread safety: a model may be read by several threads. No state is global. Nothing prints.
 *
 * Sources: the ONNX specification (IR, Operators), release 1.12; the TFLite schema, version 3;
 * T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016; B. H. Ahn et al.,
 * "Ordering Chaos: Memory-Aware Scheduling of Irregularly Wired Neural Networks", MLSys 2020; C.-C.
 * Huang, G. Jin, J. Li, "SwapAdvisor", ASPLOS 2020.
 */
#ifndef QUIRE_MODEL_H
#define QUIRE_MODEL_H

#include <quire/tensor.h>
#include <quire/tensor_schedule.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_MODEL_MESSAGE_BYTES 1024
#define QUIRE_MODEL_NONE UINT32_MAX

enum quire_model_type {
    QUIRE_MODEL_UNTYPED,
    QUIRE_MODEL_F32,
    QUIRE_MODEL_F16,
    QUIRE_MODEL_BF16,
    QUIRE_MODEL_F64,
    QUIRE_MODEL_I4,
    QUIRE_MODEL_I8,
    QUIRE_MODEL_I16,
    QUIRE_MODEL_I32,
    QUIRE_MODEL_I64,
    QUIRE_MODEL_U8,
    QUIRE_MODEL_U16,
    QUIRE_MODEL_U32,
    QUIRE_MODEL_U64,
    QUIRE_MODEL_BOOL,
    QUIRE_MODEL_STRING,
    QUIRE_MODEL_C64,
    QUIRE_MODEL_C128,
    QUIRE_MODEL_RESOURCE,
    QUIRE_MODEL_N_TYPES
};

/* "f32", "i8", ...; static. */
const char *quire_model_type_name(enum quire_model_type type);

enum quire_model_role {
    QUIRE_MODEL_ACTIVATION, /* an operator makes it */
    QUIRE_MODEL_INPUT,      /* it is handed in */
    QUIRE_MODEL_CONSTANT,   /* a weight, or known before the model runs */
    QUIRE_MODEL_VARIABLE    /* kept from one run to the next */
};

/* The shape of a tensor (mostly an input), or with rank 1 the length of a named dimension. */
struct quire_model_shape {
    const char *name;
    uint32_t rank;
    const int64_t *dims; /* 0 or more each */
};

struct quire_model_options {
    const struct quire_model_shape *shapes; /* what the file leaves open, or says otherwise */
    size_t n_shapes;
    uint32_t subgraph; /* of TFLite: which one runs; the others as it calls them */
};

struct quire_model;

/*
 * Reads a model; what it is, its contents tell. `options` may be NULL. Returns 0 and *model, to be
 * closed by quire_model_close(). Otherwise `message` (QUIRE_MODEL_MESSAGE_BYTES) says why: -EINVAL:
 * the file is damaged or contradicts itself; -EDESTADDRREQ: a shape has to be given; -EOVERFLOW: a
 * size does not fit; -ENOTSUP: it holds what is not supported; -ENOEXEC: neither ONNX nor TFLite;
 * -ENOMEM; or what opening the file returned.
 */
int quire_model_open(const char *path, const struct quire_model_options *options,
                     struct quire_model **model, char *message) __attribute__((warn_unused_result));

/* The same from memory, which has to stay until quire_model_close(). `directory`: where the files
 * of ONNX's external data are; NULL: they are refused. */
int quire_model_read(const void *bytes, size_t n_bytes, const char *directory,
                     const struct quire_model_options *options, struct quire_model **model,
                     char *message) __attribute__((warn_unused_result));

void quire_model_close(struct quire_model *model);

struct quire_model_facts {
    const char *format; /* "ONNX", "TFLite" */
    uint32_t n_tensors, n_operators;
    uint64_t static_bytes;  /* of constants and variables */
    uint64_t dynamic_bytes; /* of all others: as much as if nothing shared memory */
    double cost;            /* arithmetic operations of one run, estimated */
    uint32_t n_conflicts;   /* shapes that the file says otherwise than its operators */
    uint32_t n_bounds;      /* tensors whose size depends on the data: their upper bound counts */
    uint32_t n_opaque;      /* sequences, strings, resources: they lie outside of the arena */
};

void quire_model_facts(const struct quire_model *model, struct quire_model_facts *facts);

struct quire_model_tensor {
    const char *name; /* the model's */
    enum quire_model_type type;
    enum quire_model_role role;
    bool is_output, is_bound, is_opaque;
    uint32_t rank;
    const int64_t *dims;
    uint64_t n_bytes;
    const void *data; /* of a constant whose bytes lie in the file as they are, or NULL */
};

/* `index` is below n_tensors. */
void quire_model_tensor(const struct quire_model *model, uint32_t index,
                        struct quire_model_tensor *tensor);

struct quire_model_operator {
    const char *type, *name;
    uint32_t n_inputs, n_outputs;
    const uint32_t *inputs, *outputs; /* tensors; QUIRE_MODEL_NONE: left out */
    double cost;
};

void quire_model_operator(const struct quire_model *model, uint32_t index,
                          struct quire_model_operator *operator_);

/* What a convolution of four-dimensional tensors slides over its input; [0] is along the height,
 * [1] along the width. */
struct quire_model_window {
    uint32_t weights; /* which input they are */
    int64_t kernel[2], stride[2], dilation[2];
    int64_t before[2], behind[2]; /* padding; what is cut off is negative */
    int64_t groups;
};

/* As the file says it, and where that is "same", for the sizes that the tensors have. Returns 0;
 * -ENOTSUP: the operator is no such convolution (ONNX's Conv, ConvInteger, QLinearConv, TFLite's
 * CONV_2D, DEPTHWISE_CONV_2D), or it contradicts itself. */
int quire_model_window(const struct quire_model *model, uint32_t index,
                       struct quire_model_window *window) __attribute__((warn_unused_result));

/* Schedules */

struct quire_model_wishes {
    bool in_place;
    bool reorder;
    uint64_t reorder_states;   /* how many sets of executed operators are looked at; 0: 200,000 */
    uint64_t recompute_budget; /* bytes that the peak shall fit in; 0: nothing is recomputed */
    uint64_t offload_budget;   /* the same by offloading; 0: nothing is */
    double bandwidth;          /* to where it is offloaded, bytes a second each way; 0: 1e9 */
    double speed;              /* arithmetic operations a second; 0: 1e10 */
    const double *costs;       /* of each operator, arithmetic operations; NULL: estimated */
    uint64_t alignment;        /* of each buffer, bytes; 0: 64 */
    double time_limit;         /* seconds, by the monotonic clock; 0: none */
};

enum quire_model_action {
    QUIRE_MODEL_RUN,       /* an operator, for the first time */
    QUIRE_MODEL_RECOMPUTE, /* once more */
    QUIRE_MODEL_EVICT,     /* begin to write a buffer out; it is there until its `upper` */
    QUIRE_MODEL_PREFETCH   /* begin to bring it back, into a buffer of its own from here on */
};

struct quire_model_step {
    enum quire_model_action action;
    uint32_t operator_; /* of RUN and RECOMPUTE */
    uint32_t buffer;    /* of EVICT: that which goes. Of PREFETCH: that into which it comes */
    uint32_t evicted;   /* of PREFETCH: that which was written out */
};

/* Where a tensor is: in `buffer` from `offset` on, from step `lower` up to without `upper`. */
struct quire_model_place {
    uint32_t tensor, buffer;
    uint64_t offset;
    int64_t lower, upper;
};

struct quire_model_schedule {
    struct quire_model_step *steps;
    size_t n_steps;
    struct quire_tensor_buffer *buffers; /* as quire_tensor_place() wants them; time is the step */
    size_t n_buffers;
    struct quire_model_place *places; /* in the order of tensors, then of time */
    size_t n_places;
    uint64_t live_peak;      /* most bytes that live at one step: no placement has a lower peak */
    uint64_t floor;          /* most bytes that one step reads and writes: with this order and what
                              * shares memory in it, no budget below is met */
    uint64_t least;          /* the same whatever the order and whatever shares memory, as far as
                              * in_place allows: no schedule has a lower live_peak */
    uint64_t order_bound;    /* no order of the operators has a lower live_peak (all in one piece);
                              * 0: not known, as of a model with bodies (If, Loop, WHILE) */
    bool order_is_proved;    /* of all orders none has a lower live_peak without sharing */
    uint32_t n_shared;       /* tensors that lie in the bytes of another */
    uint32_t n_recomputed;   /* steps */
    uint32_t n_offloaded;    /* buffers written out and fetched */
    uint64_t moved_bytes;    /* written out, and as many fetched */
    double cost, extra_cost; /* arithmetic operations of one run; of them computed again */
    double seconds,
        stall_seconds; /* at the given speed and bandwidth; of them waited for transfers */
    bool fits_budget;  /* the budgets are met; true if there are none */
};

/*
 * Works out a schedule. `wishes` may be NULL: the model's own order, nothing shared. Returns 0 and
 * *schedule, to be freed by quire_model_schedule_free(): also where a budget can't be met, with the
 * lowest peak that was found. -ENOMEM. Takes O(n log n) for n operators, but for a search that is
 * bounded by a number of steps. With a time limit, what was found until then is returned: at least
 * the model's own order, which takes a second or so for a million operators. Without one nothing
 * depends on the clock.
 */
int quire_model_schedule(const struct quire_model *model, const struct quire_model_wishes *wishes,
                         struct quire_model_schedule *schedule) __attribute__((warn_unused_result));

void quire_model_schedule_free(struct quire_model_schedule *schedule);

/*
 * What each step touches, for quire_tensor_schedule_make(): buffers and steps are the schedule's,
 * and each buffer has memory of its own. For a runtime that lets the pager evict and prefetch,
 * instead of copying by --offload's steps. `kept` are the model's outputs; set `repeats` if it runs
 * again and again. Returns 0 and *work, to be freed by quire_model_work_free(); -EINVAL: the
 * schedule offloads buffers itself; -ENOMEM.
 */
int quire_model_work(const struct quire_model *model, const struct quire_model_schedule *schedule,
                     struct quire_tensor_work *work) __attribute__((warn_unused_result));

void quire_model_work_free(struct quire_tensor_work *work);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
