/* SPDX-License-Identifier: Apache-2.0 */
/* log: a small formatter and one write(2); see log.h. */
#include "base/log.h"

#include "base/sys.h"
#include "base/thread.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct text {
    char *at;
    char *end; /* one byte is left behind it for the terminator */
};

static void put(struct text *text, const char *bytes, size_t n_bytes)
{
    size_t room = (size_t)(text->end - text->at);
    if (n_bytes > room)
        n_bytes = room;
    memcpy(text->at, bytes, n_bytes);
    text->at += n_bytes;
}

static void put_unsigned(struct text *text, unsigned long value, unsigned base)
{
    char digits[24];
    size_t n = 0;
    do {
        digits[sizeof digits - ++n] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    put(text, digits + sizeof digits - n, n);
}

static void put_signed(struct text *text, long value)
{
    if (value < 0)
        put(text, "-", 1);
    put_unsigned(text, value < 0 ? 0ul - (unsigned long)value : (unsigned long)value, 10);
}

/* One conversion, `format` behind the %; returns where the format goes on. */
static const char *convert(struct text *text, const char *format, va_list *arguments)
{
    bool wide = *format == 'l' || *format == 'z';
    if (wide)
        format++;
    switch (*format) {
    case 's': {
        const char *string = va_arg(*arguments, const char *);
        put(text, string, strlen(string));
        break;
    }
    case 'c': {
        char c = (char)va_arg(*arguments, int);
        put(text, &c, 1);
        break;
    }
    case 'd':
        put_signed(text, wide ? va_arg(*arguments, long) : va_arg(*arguments, int));
        break;
    case 'u':
    case 'x':
        put_unsigned(text, wide ? va_arg(*arguments, unsigned long) : va_arg(*arguments, unsigned),
                     *format == 'u' ? 10 : 16);
        break;
    case 'p':
        put(text, "0x", 2);
        put_unsigned(text, (uintptr_t)va_arg(*arguments, void *), 16);
        break;
    default:
        put(text, format, 1);
        break;
    }
    return format + 1;
}

size_t log_vformat(char *buffer, size_t n_bytes, const char *format, va_list arguments)
{
    struct text text = {buffer, buffer + n_bytes - 1};
    va_list rest;
    va_copy(rest, arguments);
    while (*format) {
        const char *percent = strchrnul(format, '%');
        put(&text, format, (size_t)(percent - format));
        format = percent;
        if (*format && format[1])
            format = convert(&text, format + 1, &rest);
        else
            break;
    }
    va_end(rest);
    *text.at = '\0';
    return (size_t)(text.at - buffer);
}

size_t log_format(char *buffer, size_t n_bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t length = log_vformat(buffer, n_bytes, format, arguments);
    va_end(arguments);
    return length;
}

/*
 * Quire's own threads have a file table of their own, where 2 is something else. A filter of system
 * calls may forbid the first way; the second needs leave to open the file, and opens no socket.
 */
static int open_standard_error(void)
{
    int process = sys_pidfd_open(sys_getpid());
    int fd = process < 0 ? process : sys_pidfd_getfd(process, 2);
    if (fd < 0)
        fd = sys_openat(AT_FDCWD, "/proc/self/fd/2", O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC, 0);
    if (process >= 0)
        sys_close(process);
    return fd;
}

void log_error(const char *format, ...)
{
    char line[LOG_MAX_BYTES] = "quire: ";
    const size_t prefix = sizeof "quire: " - 1;
    va_list arguments;
    va_start(arguments, format);
    size_t length = prefix +
                    log_vformat(line + prefix, sizeof line - prefix - 1, format, arguments);
    va_end(arguments);
    line[length++] = '\n';
    if (!thread_is_own()) {
        sys_write(2, line, length);
        return;
    }
    int fd = open_standard_error();
    if (fd < 0)
        return; /* it is closed, or out of reach */
    sys_write(fd, line, length);
    sys_close(fd);
}
