/* SPDX-License-Identifier: Apache-2.0 */
/* peer: see peer.h. One thread each. */
#include "peer.h"

#include <cblas.h>
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>

struct peer_conv {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t conv, in, out; /* in, out: conversions; NULL: none */
    dnnl_memory_t source, weights, bias, destination, plain_source, plain_destination;
};

static void must(dnnl_status_t status, const char *what)
{
    if (status != dnnl_success) {
        fprintf(stderr, "convolutions: oneDNN: %s: status %d\n", what, (int)status);
        exit(1);
    }
}

static dnnl_memory_t memory(const struct peer_conv *conv, const dnnl_memory_desc_t *desc)
{
    dnnl_memory_t made;
    void *data;
    must(dnnl_memory_create(&made, desc, conv->engine, DNNL_MEMORY_ALLOCATE), "memory");
    must(dnnl_memory_get_data_handle(made, &data), "memory");
    float *numbers = data;
    for (size_t i = 0; i < dnnl_memory_desc_get_size(desc) / sizeof *numbers; i++)
        numbers[i] = (float)(i % 17) / 16 - 0.5f;
    return made;
}

static dnnl_primitive_t reorder(const struct peer_conv *conv, const dnnl_memory_desc_t *from,
                                const dnnl_memory_desc_t *to)
{
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t made;
    must(dnnl_reorder_primitive_desc_create(&desc, from, conv->engine, to, conv->engine, NULL),
         "conversion");
    must(dnnl_primitive_create(&made, desc), "conversion");
    dnnl_primitive_desc_destroy(desc);
    return made;
}

static const dnnl_memory_desc_t *query(const struct peer_conv *conv, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(conv->desc, what, 0);
}

static dnnl_status_t describe(struct peer_conv *conv, const struct quire_conv_shape *s,
                              enum peer_kind kind, const int64_t *in, const int64_t *out)
{
    static const dnnl_alg_kind_t algorithms[] = {dnnl_convolution_auto,     dnnl_convolution_direct,
                                                 dnnl_convolution_winograd, dnnl_convolution_auto,
                                                 dnnl_convolution_auto,     dnnl_convolution_auto};
    const dnnl_format_tag_t from = kind == PEER_FIRST_PLAIN ? dnnl_nchw : dnnl_format_tag_any;
    const dnnl_dims_t grouped = {s->groups, s->out_channels / s->groups, s->in_channels / s->groups,
                                 s->kernel_height, s->kernel_width};
    const dnnl_dims_t plain = {s->out_channels, s->in_channels, s->kernel_height, s->kernel_width};
    const dnnl_dims_t strides = {s->stride_y, s->stride_x},
                      dilations = {s->dilation_y - 1, s->dilation_x - 1},
                      before = {s->pad_top, s->pad_left}, after = {s->pad_bottom, s->pad_right},
                      channels = {s->out_channels};
    dnnl_memory_desc_t source, weights, bias, destination;
    dnnl_convolution_desc_t desc;
    dnnl_primitive_attr_t attributes;
    dnnl_post_ops_t relu;
    must(dnnl_memory_desc_init_by_tag(&source, 4, in, dnnl_f32, from), "source");
    must(dnnl_memory_desc_init_by_tag(&weights, s->groups > 1 ? 5 : 4,
                                      s->groups > 1 ? grouped : plain, dnnl_f32,
                                      dnnl_format_tag_any),
         "weights");
    must(dnnl_memory_desc_init_by_tag(&bias, 1, channels, dnnl_f32, dnnl_x), "bias");
    must(dnnl_memory_desc_init_by_tag(&destination, 4, out, dnnl_f32, dnnl_format_tag_any),
         "destination");
    must(dnnl_dilated_convolution_forward_desc_init(&desc, dnnl_forward_inference, algorithms[kind],
                                                    &source, &weights, &bias, &destination, strides,
                                                    dilations, before, after),
         "convolution");
    must(dnnl_primitive_attr_create(&attributes), "attributes");
    must(dnnl_post_ops_create(&relu), "relu");
    must(dnnl_post_ops_append_eltwise(relu, 1, dnnl_eltwise_relu, 0, 0), "relu");
    must(dnnl_primitive_attr_set_post_ops(attributes, relu), "relu");
    dnnl_status_t status = dnnl_primitive_desc_create(&conv->desc, &desc, attributes, conv->engine,
                                                      NULL);
    dnnl_post_ops_destroy(relu);
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

struct peer_conv *peer_conv_new(const struct quire_conv_shape *shape, enum peer_kind kind)
{
    struct peer_conv *conv = calloc(1, sizeof *conv);
    int64_t height, width;
    if (conv == NULL || quire_conv_out_size(shape, &height, &width) != 0)
        exit(1);
    dnnl_dims_t in = {shape->n_images, shape->in_channels, shape->in_height, shape->in_width};
    dnnl_dims_t out = {shape->n_images, shape->out_channels, height, width};
    must(dnnl_engine_create(&conv->engine, dnnl_cpu, 0), "engine");
    must(dnnl_stream_create(&conv->stream, conv->engine, dnnl_stream_default_flags), "stream");
    if (describe(conv, shape, kind, in, out) != dnnl_success) {
        dnnl_stream_destroy(conv->stream);
        dnnl_engine_destroy(conv->engine);
        free(conv);
        return NULL;
    }
    must(dnnl_primitive_create(&conv->conv, conv->desc), "convolution");
    conv->source = memory(conv, query(conv, dnnl_query_src_md));
    conv->weights = memory(conv, query(conv, dnnl_query_weights_md));
    conv->bias = memory(conv, dnnl_primitive_desc_query_md(conv->desc, dnnl_query_weights_md, 1));
    conv->destination = memory(conv, query(conv, dnnl_query_dst_md));
    dnnl_memory_desc_t plain_in, plain_out;
    must(dnnl_memory_desc_init_by_tag(&plain_in, 4, in, dnnl_f32, dnnl_nchw), "nchw");
    must(dnnl_memory_desc_init_by_tag(&plain_out, 4, out, dnnl_f32, dnnl_nchw), "nchw");
    if (kind == PEER_PLAIN || kind == PEER_FIRST) {
        conv->plain_source = memory(conv, &plain_in);
        conv->in = reorder(conv, &plain_in, query(conv, dnnl_query_src_md));
    }
    if (kind == PEER_PLAIN) {
        conv->plain_destination = memory(conv, &plain_out);
        conv->out = reorder(conv, query(conv, dnnl_query_dst_md), &plain_out);
    }
    return conv;
}

static void move(struct peer_conv *conv, dnnl_primitive_t how, dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    must(dnnl_primitive_execute(how, conv->stream, 2, arguments), "conversion");
}

void peer_conv_run(struct peer_conv *conv)
{
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, conv->source},
                                         {DNNL_ARG_WEIGHTS, conv->weights},
                                         {DNNL_ARG_BIAS, conv->bias},
                                         {DNNL_ARG_DST, conv->destination}};
    if (conv->in != NULL)
        move(conv, conv->in, conv->plain_source, conv->source);
    must(dnnl_primitive_execute(conv->conv, conv->stream, 4, arguments), "convolution");
    if (conv->out != NULL)
        move(conv, conv->out, conv->destination, conv->plain_destination);
    must(dnnl_stream_wait(conv->stream), "wait");
}

const char *peer_conv_name(const struct peer_conv *conv)
{
    const char *name = "?";
    dnnl_primitive_desc_query(conv->desc, dnnl_query_impl_info_str, 0, &name);
    return name;
}

void peer_conv_free(struct peer_conv *conv)
{
    dnnl_memory_t memories[] = {conv->source,      conv->weights,      conv->bias,
                                conv->destination, conv->plain_source, conv->plain_destination};
    dnnl_primitive_t primitives[] = {conv->conv, conv->in, conv->out};
    for (unsigned i = 0; i < 6; i++)
        if (memories[i] != NULL)
            dnnl_memory_destroy(memories[i]);
    for (unsigned i = 0; i < 3; i++)
        if (primitives[i] != NULL)
            dnnl_primitive_destroy(primitives[i]);
    dnnl_primitive_desc_destroy(conv->desc);
    dnnl_stream_destroy(conv->stream);
    dnnl_engine_destroy(conv->engine);
    free(conv);
}

void peer_multiply(int n, const float *a, const float *b, float *c)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n, 0, c, n);
}
