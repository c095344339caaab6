/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a trace of any format: nothing is read outside of them, a refusal says why, and what
 * is returned is what the simulator relies on. The first byte is the format.
 */
#include <quire/trace.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void check(const struct quire_trace *trace, const struct quire_trace_record *records, long n)
{
    const struct quire_trace_info *info = quire_trace_info(trace);
    for (long i = 0; i < n; i++) {
        if (records[i].kind >= QUIRE_TRACE_N_KINDS)
            abort();
        const bool is_mapping = records[i].kind == QUIRE_TRACE_MAP ||
                                records[i].kind == QUIRE_TRACE_UNMAP;
        const struct quire_trace_mapping *mapping = quire_trace_mapping(trace, records[i].mapping);
        if (is_mapping && (mapping == NULL || mapping->start + mapping->n_bytes < mapping->start ||
                           strlen(mapping->name) > QUIRE_TRACE_MAX_NAME))
            abort();
        if (!is_mapping && info->unit_shift == 0 &&
            (records[i].address & (((uint64_t)1 << info->granule) - 1)) != 0)
            abort();
    }
}

static void read_all(struct quire_trace *trace)
{
    struct quire_trace_record records[64];
    long got;
    while ((got = quire_trace_read(trace, records, 64)) > 0)
        check(trace, records, got);
    if (got < 0 && quire_trace_message(trace)[0] == '\0')
        abort();
    if (got < 0 && quire_trace_read(trace, records, 64) != got) /* it stays so */
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static const char *const formats[] = {NULL,   "quire", "lackey", "plain",
                                          "perf", "csv",   "oracle", NULL};
    static int fd = -1;
    char message[QUIRE_TRACE_MESSAGE_BYTES] = "";
    struct quire_trace *trace;
    if (n_bytes == 0)
        return 0;
    if (fd < 0)
        fd = memfd_create("trace", MFD_CLOEXEC);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data + 1, n_bytes - 1, 0) != (ssize_t)n_bytes - 1 ||
        lseek(fd, 0, SEEK_SET) != 0)
        abort();
    const struct quire_trace_options options = {.format = formats[data[0] % 8],
                                                .in_pages = data[0] & 16,
                                                .delimiter = data[0] & 32 ? ';' : 0};
    int error = quire_trace_open_fd(fd, "it", &options, message, &trace);
    if (error != 0 && (message[0] == '\0' || memchr(message, '\0', sizeof message) == NULL))
        abort();
    if (error == 0) {
        read_all(trace);
        quire_trace_close(trace);
    }
    return 0;
}
