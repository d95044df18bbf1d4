/* Members of rooms, who speak in turn at a fixed rate whether or not the server keeps up.
 *
 * A latency is counted from the moment at which a message was due, so a server that makes the load
 * wait does not look faster for it. Every member must hear every message of its room that the server
 * took, once, and not its own: checked by count and by a sum over the messages' numbers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

struct room {
    uint64_t members, sent, sum;
};

static struct room *rooms;
static char *line;
static uint64_t next_number = 1, heard_count, delivered, expected, received_total, sent_in_window, held_back;
static uint64_t next_probe;

static struct room *room_of(const struct conn *c) { return &rooms[c->index % (uint32_t)opt.rooms]; }

size_t hello_write(char *out, struct conn *c) {
    long room = c->index % opt.rooms;
    if (opt.json)
        return (size_t)sprintf(out, "{\"type\":\"hello\",\"nick\":\"m%u\",\"room\":\"r%ld\"}\n", c->index, room);
    return opt.rooms > 1 ? (size_t)sprintf(out, "/join r%ld\n", room) : 0;
}

size_t message_write(char *out, struct conn *c, uint64_t at, uint64_t number, bool with_ack) {
    static uint64_t last_id; /* a probe has no number, and a server takes each id once */
    char *p = out;
    if (opt.json) p += sprintf(p, "{\"type\":\"message\",\"room\":\"r%ld\",\"text\":\"", c->index % opt.rooms);
    stamp_write(p, '@', at, number);
    memset(p + STAMP, 'x', (size_t)opt.size - STAMP);
    p += opt.size;
    if (opt.json && with_ack) {
        p += sprintf(p, "\",\"id\":\"");
        stamp_write(p, '=', at, number);
        p += STAMP;
        p += sprintf(p, "\"}");
    } else if (opt.json) {
        p += sprintf(p, "\",\"id\":\"c%llu\"}", (unsigned long long)++last_id);
    }
    *p++ = '\n';
    return (size_t)(p - out);
}

static void start(void) {
    rooms = calloc((size_t)opt.rooms, sizeof *rooms);
    line = malloc((size_t)opt.size + 256);
    if (!rooms || !line) die("memory");
}

static void opened(struct conn *c) {
    char hello[128];
    room_of(c)->members++;
    conn_write(c, hello, hello_write(hello, c));
}

static void found(struct conn *c, uint64_t at, uint64_t number) {
    uint64_t now = now_ns();
    if (number == 0) { /* a probe */
        if (!c->heard) heard_count++;
        c->heard = true;
        return;
    }
    c->got++;
    c->got_sum += stamp_mix(number);
    received_total++;
    if (phase == MEASURING) delivered++;
    if (at >= begin_at && at < end_at) latency_add(now - at);
}

static void received(struct conn *c, const char *data, size_t size) {
    stamps_find(c, '@', data, size, (size_t)opt.size, found);
}

/* The first two of each room say something until everybody has heard it: the server knows them all. */
static bool ready(uint64_t now) {
    if (heard_count == (uint64_t)opt.connections) return true;
    if (now < next_probe) return false;
    next_probe = now + SECOND / 4;
    for (long i = 0; i < 2 * opt.rooms && i < opt.connections; i++)
        conn_write(&conns[i], line, message_write(line, &conns[i], now, 0, false));
    return false;
}

static void go(void) { expected = received_total = 0; }

static void speak(struct conn *c, uint64_t at) {
    struct room *room = room_of(c);
    if (c->unsent || c->state != CONN_OPEN) { /* the server does not read this member */
        held_back++;
        return;
    }
    uint64_t number = next_number++, mixed = stamp_mix(number);
    conn_write(c, line, message_write(line, c, at, number, false));
    c->sent++;
    c->sent_sum += mixed;
    room->sent++;
    room->sum += mixed;
    expected += room->members - 1;
    if (at >= begin_at) sent_in_window++;
}

static void tick(uint64_t now) {
    static uint64_t turn;
    for (;;) {
        uint64_t due = go_at + (uint64_t)((double)turn * 1e9 / opt.rate);
        if (due > now || due >= end_at) return;
        speak(&conns[turn % (uint64_t)opt.senders], due);
        turn++;
    }
}

static bool finished(void) { return received_total >= expected; }

static void report(void) {
    uint64_t missing = 0, wrong = 0;
    for (long i = 0; i < opt.connections; i++) {
        struct conn *c = &conns[i];
        uint64_t due = room_of(c)->sent - c->sent;
        if (c->got < due) missing += due - c->got;
        if (c->got > due || (c->got == due && c->got_sum != room_of(c)->sum - c->sent_sum)) wrong++;
    }
    latency_add_many(end_at > begin_at ? (uint64_t)((opt.seconds + opt.drain) * 1e9) : 0, missing);
    latency_report();
    printf("\"done\": %llu, \"sent\": %llu, \"held_back\": %llu, \"missing\": %llu, \"wrong\": %llu, ",
           (unsigned long long)delivered, (unsigned long long)sent_in_window, (unsigned long long)held_back,
           (unsigned long long)missing, (unsigned long long)wrong);
}

const struct work broadcast_work = {
    .name = "broadcast", .start = start, .opened = opened, .received = received, .ready = ready,
    .go = go, .tick = tick, .finished = finished, .report = report,
};
