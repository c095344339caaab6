/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conversions: how fast layouts are converted, beside memcpy() and oneDNN.
 *
 *   conversions [-t MS] [-i ISA] [CASE ...]      cases whose line contains one of the words; all
 *
 * Each case has a source and a target of its own. In turns of all three sides, each runs for about
 * a millisecond; the median of a side's turns counts. GB/s are bytes read and written, tails too;
 * memcpy() copies as many bytes as the target has. The time is the thread's own, so a machine
 * that does other things at the same time slows all sides alike.
 */
#include <quire/layout.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifdef HAS_DNNL
#include <dnnl.h>
#endif

#define MAX_TURNS 400
#define TURN_SECONDS 1e-3

struct conversion_case {
    const char *from, *to;
    enum quire_layout_type type;
    int64_t dims[4];
};

/* 64@56 is in the second-level cache of most machines, 256 x 64@56 x 2 in none. */
static const struct conversion_case cases[] = {
    {"nchw", "nchw16c", QUIRE_LAYOUT_F32, {1, 64, 28, 28}},
    {"nchw16c", "nchw", QUIRE_LAYOUT_F32, {1, 64, 28, 28}},
    {"nchw", "nchw16c", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nchw16c", "nchw", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nchw", "nchw8c", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nchw8c", "nchw", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nchw", "nchw4c", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nchw4c", "nchw", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nchw", "nhwc", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nhwc", "nchw", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nhwc", "nchw16c", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nchw16c", "nhwc", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nchw8c", "nchw16c", QUIRE_LAYOUT_F32, {1, 64, 56, 56}},
    {"nchw", "nchw16c", QUIRE_LAYOUT_F32, {1, 512, 7, 7}},
    {"nchw16c", "nchw", QUIRE_LAYOUT_F32, {1, 512, 7, 7}},
    {"nchw", "nchw16c", QUIRE_LAYOUT_F32, {1, 64, 64, 64}},
    {"nchw16c", "nchw", QUIRE_LAYOUT_F32, {1, 64, 64, 64}},
    {"nchw", "nchw16c", QUIRE_LAYOUT_F32, {1, 3, 224, 224}},
    {"nhwc", "nchw16c", QUIRE_LAYOUT_F32, {1, 3, 224, 224}},
    {"nhwc", "nchw", QUIRE_LAYOUT_F32, {1, 3, 224, 224}},
    {"nchw", "nhwc", QUIRE_LAYOUT_F32, {1, 3, 224, 224}},
    {"nchw", "nchw16c", QUIRE_LAYOUT_BF16, {1, 64, 56, 56}},
    {"nchw16c", "nchw", QUIRE_LAYOUT_BF16, {1, 64, 56, 56}},
    {"nchw", "nhwc", QUIRE_LAYOUT_BF16, {1, 64, 56, 56}},
    {"nchw", "nchw16c", QUIRE_LAYOUT_I8, {1, 64, 56, 56}},
    {"nchw16c", "nchw", QUIRE_LAYOUT_I8, {1, 64, 56, 56}},
    {"nchw", "nhwc", QUIRE_LAYOUT_I8, {1, 64, 56, 56}},
    {"nhwc", "nchw", QUIRE_LAYOUT_I8, {1, 3, 224, 224}},
    {"oihw", "oihw16i16o", QUIRE_LAYOUT_F32, {256, 256, 3, 3}},
    {"oihw16i16o", "oihw", QUIRE_LAYOUT_F32, {256, 256, 3, 3}},
    {"oihw", "oihw4i16o4i", QUIRE_LAYOUT_I8, {256, 256, 3, 3}},
    {"nchw", "nchw16c", QUIRE_LAYOUT_F32, {32, 64, 112, 112}},
    {"nchw16c", "nchw", QUIRE_LAYOUT_F32, {32, 64, 112, 112}},
    {"nchw", "nchw8c", QUIRE_LAYOUT_F32, {32, 64, 112, 112}},
    {"nchw", "nhwc", QUIRE_LAYOUT_F32, {32, 64, 112, 112}},
    {"nhwc", "nchw", QUIRE_LAYOUT_F32, {32, 64, 112, 112}},
    {"nhwc", "nchw16c", QUIRE_LAYOUT_F32, {32, 64, 112, 112}},
    {"nchw16c", "nhwc", QUIRE_LAYOUT_F32, {32, 64, 112, 112}},
    {"nchw", "nchw16c", QUIRE_LAYOUT_F32, {32, 64, 111, 111}},
    {"nchw16c", "nchw", QUIRE_LAYOUT_F32, {32, 64, 111, 111}},
    {"nchw", "nchw16c", QUIRE_LAYOUT_I8, {128, 64, 112, 112}},
};

struct run {
    struct quire_layout from, to;
    struct quire_layout_conversion conversion;
    char *source, *target;
    size_t from_bytes, to_bytes;
#ifdef HAS_DNNL
    dnnl_primitive_t reorder;
    dnnl_memory_t memories[2];
    dnnl_stream_t stream;
#endif
};

static void check(int error, const char *what)
{
    if (error == 0)
        return;
    fprintf(stderr, "conversions: %s: error %d\n", what, error);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static char *take(size_t n_bytes)
{
    char *bytes = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(bytes == MAP_FAILED, "memory");
    memset(bytes, 1, n_bytes);
    return bytes;
}

/* The sides */

static void copy(struct run *run)
{
    memcpy(run->target, run->source,
           run->from_bytes < run->to_bytes ? run->from_bytes : run->to_bytes);
}

static void convert(struct run *run)
{
    check(quire_layout_convert(&run->conversion, run->source, run->from_bytes, run->target,
                               run->to_bytes),
          "a conversion");
}

#ifdef HAS_DNNL
/* oneDNN's descriptor is the same but for its names. */
static dnnl_memory_desc_t describe(const struct quire_layout *layout)
{
    static const dnnl_data_type_t types[] = {dnnl_f32, dnnl_f16, dnnl_bf16, dnnl_s8};
    dnnl_memory_desc_t memory = {.ndims = (int)layout->n_dims,
                                 .data_type = types[layout->type],
                                 .format_kind = dnnl_blocked};
    dnnl_blocking_desc_t *blocking = &memory.format_desc.blocking;
    for (uint32_t d = 0; d < layout->n_dims; d++) {
        int64_t block = quire_layout_block_size(layout, d);
        memory.dims[d] = layout->dims[d];
        memory.padded_dims[d] = (layout->dims[d] + block - 1) / block * block;
        blocking->strides[d] = layout->strides[d];
    }
    blocking->inner_nblks = (int)layout->n_blocks;
    for (uint32_t i = 0; i < layout->n_blocks; i++) {
        blocking->inner_blks[i] = layout->blocks[i].size;
        blocking->inner_idxs[i] = layout->blocks[i].dim;
    }
    return memory;
}

static void make_peer(struct run *run)
{
    static dnnl_engine_t engine;
    dnnl_memory_desc_t memories[2] = {describe(&run->from), describe(&run->to)};
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t descriptor;
    if (engine == NULL)
        check(dnnl_engine_create(&engine, dnnl_cpu, 0), "oneDNN's engine");
    check(dnnl_stream_create(&run->stream, engine, dnnl_stream_default_flags), "a stream");
    check(dnnl_memory_create(&run->memories[0], &memories[0], engine, run->source), "a memory");
    check(dnnl_memory_create(&run->memories[1], &memories[1], engine, run->target), "a memory");
    check(dnnl_primitive_attr_create(&attributes), "attributes");
    check(dnnl_reorder_primitive_desc_create(&descriptor, &memories[0], engine, &memories[1],
                                             engine, attributes),
          "oneDNN's reorder");
    check(dnnl_primitive_create(&run->reorder, descriptor), "oneDNN's reorder");
    dnnl_primitive_attr_destroy(attributes);
    dnnl_primitive_desc_destroy(descriptor);
}

static void reorder(struct run *run)
{
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, run->memories[0]},
                                         {DNNL_ARG_TO, run->memories[1]}};
    check(dnnl_primitive_execute(run->reorder, run->stream, 2, arguments), "oneDNN's reorder");
    check(dnnl_stream_wait(run->stream), "oneDNN's reorder");
}

static void drop_peer(struct run *run)
{
    dnnl_primitive_destroy(run->reorder);
    dnnl_memory_destroy(run->memories[0]);
    dnnl_memory_destroy(run->memories[1]);
    dnnl_stream_destroy(run->stream);
}
#endif

/* Measuring */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof *values, ascending);
    return values[n / 2];
}

static double time_side(struct run *run, void (*side)(struct run *), unsigned n)
{
    double start = now();
    for (unsigned i = 0; i < n; i++)
        side(run);
    return (now() - start) / n;
}

static void measure(const struct conversion_case *its, const char *title, double seconds,
                    enum quire_layout_isa isa)
{
    static double times[3][MAX_TURNS];
    void (*const sides[])(struct run *) = {
        copy,
        convert,
#ifdef HAS_DNNL
        reorder,
#endif
    };
    const unsigned n_sides = sizeof sides / sizeof sides[0];
    struct run run = {0};
    check(quire_layout_init(&run.from, its->from, its->type, 4, its->dims), "a layout");
    check(quire_layout_init(&run.to, its->to, its->type, 4, its->dims), "a layout");
    check(quire_layout_conversion_init(&run.conversion, &run.from, &run.to,
                                       &(struct quire_layout_options){.isa = isa}),
          "a conversion");
    run.from_bytes = quire_layout_bytes(&run.from);
    run.to_bytes = quire_layout_bytes(&run.to);
    run.source = take(run.from_bytes);
    run.target = take(run.to_bytes);
#ifdef HAS_DNNL
    make_peer(&run);
#endif
    unsigned n_turns = 0, n[3];
    for (unsigned i = 0; i < n_sides; i++) {
        time_side(&run, sides[i], 1);
        double once = time_side(&run, sides[i], 1);
        n[i] = once > TURN_SECONDS ? 1 : (unsigned)(TURN_SECONDS / once);
    }
    for (double end = now() + seconds; n_turns < MAX_TURNS && (n_turns < 5 || now() < end);
         n_turns++)
        for (unsigned i = 0; i < n_sides; i++)
            times[i][n_turns] = time_side(&run, sides[i], n[i]);
    size_t copied = run.from_bytes < run.to_bytes ? run.from_bytes : run.to_bytes;
    double speeds[3];
    for (unsigned i = 0; i < n_sides; i++)
        speeds[i] = (double)(i == 0 ? 2 * copied : run.from_bytes + run.to_bytes) /
                    median(times[i], n_turns) / 1e9;
    printf("%-46s %6.1f %7.1f %5.0f%%", title, speeds[0], speeds[1], 100 * speeds[1] / speeds[0]);
    if (n_sides > 2)
        printf(" %7.1f %6.2fx", speeds[2], speeds[1] / speeds[2]);
    putchar('\n');
    fflush(stdout);
#ifdef HAS_DNNL
    drop_peer(&run);
#endif
    munmap(run.source, run.from_bytes);
    munmap(run.target, run.to_bytes);
}

int main(int argc, char **argv)
{
    double seconds = 0.3;
    enum quire_layout_isa isa = QUIRE_LAYOUT_BEST;
    for (int option; (option = getopt(argc, argv, "t:i:")) != -1;) {
        if (option == 't')
            seconds = atof(optarg) / 1e3;
        else if (option == 'i')
            while (isa < QUIRE_LAYOUT_N_ISAS && strcmp(quire_layout_isa_name(isa), optarg) != 0)
                isa++;
        else
            return 2;
    }
    printf("%-46s %6s %7s %6s %7s %7s\n", "GB/s", "memcpy", "quire", "share", "oneDNN", "ratio");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct conversion_case *its = &cases[i];
        char title[96];
        bool is_wanted = optind == argc;
        snprintf(title, sizeof title, "%s -> %s %s %dx%dx%dx%d", its->from, its->to,
                 quire_layout_type_name(its->type), (int)its->dims[0], (int)its->dims[1],
                 (int)its->dims[2], (int)its->dims[3]);
        for (int k = optind; k < argc; k++)
            is_wanted |= strstr(title, argv[k]) != NULL;
        if (is_wanted)
            measure(its, title, seconds, isa);
    }
    return 0;
}
