/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen: a full-screen terminal, through ncurses, in a library of its own (libquire-screen.so)
 * that is loaded when a screen is wanted: no other command pays for it.
 *
 *   screen_load() ── open() ── { size(), erase(), put()..., show(), wait() }... ── close()
 *
 * The terminal is as it was after close(), and also after any end of the process that a signal can
 * announce. Signals are let in only in wait(), so nothing here is ever interrupted half-way: what
 * asks to end comes as SCREEN_END; ^Z stops the process with the terminal restored, and `fg` draws
 * it again.
 */
#ifndef QUIRE_CLI_SCREEN_H
#define QUIRE_CLI_SCREEN_H

#include <stdbool.h>

enum screen_style {
    SCREEN_PLAIN,
    SCREEN_BOLD,
    SCREEN_DIM,
    SCREEN_HEADING,  /* of a table: reversed */
    SCREEN_SELECTED, /* a row */
    SCREEN_GOOD,     /* colours, where there are any: in use, ... */
    SCREEN_NOTE,
    SCREEN_WARN,
    SCREEN_BAD,
    SCREEN_N_STYLES,
};

enum screen_key {                         /* a character, or one of these */
                  SCREEN_NONE = 0x110000, /* time is up */
                  SCREEN_RESIZED,         /* or to be drawn again */
                  SCREEN_END,             /* a signal, or the terminal is gone */
                  SCREEN_UP,
                  SCREEN_DOWN,
                  SCREEN_LEFT,
                  SCREEN_RIGHT,
                  SCREEN_PAGE_UP,
                  SCREEN_PAGE_DOWN,
                  SCREEN_HOME,
                  SCREEN_LAST, /* the End key */
                  SCREEN_ENTER,
                  SCREEN_ESCAPE,
                  SCREEN_BACKSPACE,
                  SCREEN_F1, /* and F2 to F12 behind it */
                  SCREEN_F12 = SCREEN_F1 + 11,
                  SCREEN_OTHER,
};

struct screen {
    /* 0; or a message for the user why not, and nothing is changed: no terminal, or one that can't
     * move its cursor. */
    const char *(*open)(void);
    void (*close)(void);
    void (*size)(unsigned *n_rows, unsigned *n_columns);
    void (*erase)(void);
    /* Writes a text, in the locale's encoding, cut or filled with blanks to `width` columns; what
     * lies outside of the screen is left out. */
    void (*put)(unsigned row, unsigned column, unsigned width, enum screen_style style,
                const char *text);
    void (*show)(void);
    void (*show_cursor)(unsigned row, unsigned column, bool is_visible);
    int (*wait)(int timeout_ms); /* a key; -1: as long as it takes */
};

#define SCREEN_SYMBOL "quire_screen"

/* NULL, with a message: there is no such library, or it can't be loaded. */
const struct screen *screen_load(void);

#endif
