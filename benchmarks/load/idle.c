/* Connections that say nothing, but for what the JSON form's heartbeat asks of them. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "load.h"

static const char ping[] = "{\"type\":\"ping\"}", pong[] = "{\"type\":\"pong\"}\n";
static uint64_t last_heard, heartbeats;

static void start(void) {}

static void opened(struct conn *c) {
    char hello[128];
    conn_write(c, hello, hello_write(hello, c));
}

static void received(struct conn *c, const char *data, size_t size) {
    if (opt.json && memmem(data, size, ping, sizeof ping - 1)) {
        heartbeats++;
        conn_write(c, pong, sizeof pong - 1);
    } else {
        last_heard = now_ns();
    }
}

/* Quiet for a while: the greetings and the notices of those who joined have all come. */
static bool ready(uint64_t now) { return now - last_heard > SECOND / 2 && now - conns[opt.connections - 1].opened_at > SECOND / 2; }

static void go(void) { heartbeats = 0; }

static void tick(uint64_t now) { (void)now; }

static bool finished(void) { return true; }

static void report(void) {
    printf("\"done\": %ld, \"heartbeats\": %llu, ", open_count, (unsigned long long)heartbeats);
}

const struct work idle_work = {
    .name = "idle", .start = start, .opened = opened, .received = received, .ready = ready,
    .go = go, .tick = tick, .finished = finished, .report = report,
};
