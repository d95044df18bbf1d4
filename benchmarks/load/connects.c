/* Connect (with a TLS handshake, if asked for), one small echo, close, and again. */
#include <stdio.h>
#include <string.h>

#include "load.h"

static uint64_t connects;
static char request[] = "connects: are you there, with a whole handshake?\n";
#define SIZE (sizeof request - 1)

static void start(void) {}

static void opened(struct conn *c) { conn_write(c, request, SIZE); }

static void received(struct conn *c, const char *data, size_t size) {
    (void)data;
    c->received += size;
    if (c->received < SIZE) return;
    if (phase == MEASURING) {
        connects++;
        latency_add(now_ns() - c->opened_at);
    }
    conn_close(c);
    if (phase == WARMING || phase == MEASURING) conn_open(c);
}

static bool ready(uint64_t now) {
    (void)now;
    return true;
}

static void go(void) {
    for (long i = 0; i < opt.connections; i++) conn_open(&conns[i]);
}

/* Those that failed are opened again a moment later. */
static void tick(uint64_t now) {
    (void)now;
    for (long i = 0; i < opt.connections; i++)
        if (conns[i].state == CONN_CLOSED) conn_open(&conns[i]);
}

static bool finished(void) {
    for (long i = 0; i < opt.connections; i++)
        if (conns[i].state != CONN_CLOSED) return false;
    return true;
}

static void report(void) {
    latency_report();
    printf("\"done\": %llu, ", (unsigned long long)connects);
}

const struct work connects_work = {
    .name = "connects", .start = start, .opened = opened, .received = received, .ready = ready,
    .go = go, .tick = tick, .finished = finished, .report = report, .reopens = true,
};
