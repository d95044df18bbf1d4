/* A chat in C with epoll: the least that the kernel lets a broadcast cost.
 *
 *   chat each   sends a line to every member as soon as it is read (what every tutorial does)
 *   chat turn   gathers what arrives in one turn of the loop and gives every member one write
 *
 * With "nagle" as a second word it leaves Nagle's algorithm on: then the kernel gathers as well, and
 * a message may wait for the ack of the one before, which Linux delays by up to 40 ms.
 *
 * "/join NAME" changes the room; any other line goes to the others in it as "<guest-7> line".
 *
 * With "websocket" as a second word its members have WebSockets. The first message says who somebody
 * is; any other goes to all others as it came.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "websocket.h"

#define EVENTS 512
#define MAX_ROOMS 1024
#define MAX_PARTIAL (1 << 20) /* bytes of an incomplete line or frame */
#define MAX_UNSENT (64 << 20) /* bytes; who is further behind is closed */

struct buffer {
    char *data;
    size_t size, room;
};

struct member {
    int fd, number;
    struct room *in;
    size_t place; /* in the room's members */
    struct buffer partial, unsent;
    bool spoke, gone, upgraded;
};

/* One line of this turn: where it lies in the room's text, and whose it is. */
struct part {
    size_t start, size;
    struct member *from;
};

struct room {
    char name[64];
    struct member **members;
    size_t count, space;
    struct buffer text;
    struct part *parts;
    size_t part_count, part_space;
};

static struct room rooms[MAX_ROOMS];
static struct room *spoken_in[MAX_ROOMS];
static size_t room_count, spoken_count;
static struct member *gone[EVENTS * 64];
static size_t gone_count;
static bool by_turn, nagle, websocket;
static int epoll, listener, last_number;
static char inbox[256 * 1024];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void *grown(void *data, size_t *space, size_t needed, size_t each) {
    if (needed <= *space) return data;
    *space = needed * 2;
    data = realloc(data, *space * each);
    if (!data) die("memory");
    return data;
}

static void append(struct buffer *b, const char *data, size_t size) {
    b->data = grown(b->data, &b->room, b->size + size, 1);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void watch(struct member *m, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = m};
    epoll_ctl(epoll, EPOLL_CTL_MOD, m->fd, &event);
}

static void leave(struct member *m) {
    struct room *r = m->in;
    if (!r) return;
    r->members[m->place] = r->members[--r->count];
    r->members[m->place]->place = m->place;
}

static void join(struct member *m, const char *name, size_t size) {
    struct room *r = rooms;
    if (size >= sizeof r->name) size = sizeof r->name - 1;
    while (r < rooms + room_count && (strlen(r->name) != size || memcmp(r->name, name, size) != 0)) r++;
    if (r == rooms + room_count) {
        if (room_count == MAX_ROOMS) return;
        room_count++;
        memcpy(r->name, name, size);
    }
    leave(m);
    r->members = grown(r->members, &r->space, r->count + 1, sizeof *r->members);
    m->in = r;
    m->place = r->count;
    r->members[r->count++] = m;
}

/* Memory is freed when the turn is over: this turn's lines may still name the member. */
static void lose(struct member *m) {
    if (m->gone) return;
    m->gone = true;
    close(m->fd);
    if (gone_count < sizeof gone / sizeof *gone) gone[gone_count++] = m;
}

static void bury(void) {
    while (gone_count) {
        struct member *m = gone[--gone_count];
        leave(m);
        free(m->partial.data);
        free(m->unsent.data);
        free(m);
    }
}

static void give(struct member *m, const char *data, size_t size) {
    if (m->gone || size == 0) return;
    size_t sent = 0;
    if (m->unsent.size == 0) {
        ssize_t n = send(m->fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return; /* the next read says so too */
        sent = n < 0 ? 0 : (size_t)n;
        if (sent == size) return;
        watch(m, EPOLLIN | EPOLLOUT);
    }
    append(&m->unsent, data + sent, size - sent);
    if (m->unsent.size > MAX_UNSENT) lose(m);
}

static void flush(struct member *m) {
    ssize_t n = send(m->fd, m->unsent.data, m->unsent.size, MSG_NOSIGNAL);
    if (n <= 0) return;
    m->unsent.size -= (size_t)n;
    memmove(m->unsent.data, m->unsent.data + n, m->unsent.size);
    if (m->unsent.size == 0) watch(m, EPOLLIN);
}

static void say_at_once(struct member *m, const char *head, size_t head_size, const char *line, size_t size) {
    static struct buffer message;
    message.size = 0;
    append(&message, head, head_size);
    append(&message, line, size);
    for (size_t i = 0; i < m->in->count; i++)
        if (m->in->members[i] != m) give(m->in->members[i], message.data, message.size);
}

static void say_at_turns_end(struct member *m, const char *head, size_t head_size, const char *line, size_t size) {
    struct room *r = m->in;
    if (r->part_count == 0) spoken_in[spoken_count++] = r;
    r->parts = grown(r->parts, &r->part_space, r->part_count + 1, sizeof *r->parts);
    r->parts[r->part_count++] = (struct part){r->text.size, head_size + size, m};
    append(&r->text, head, head_size);
    append(&r->text, line, size);
    m->spoke = true;
}

static void heard(struct member *m, const char *line, size_t size) {
    char head[32];
    if (size > 6 && memcmp(line, "/join ", 6) == 0) {
        if (m->in->part_count == 0 || !m->spoke) join(m, line + 6, size - 7);
        return;
    }
    size_t head_size = (size_t)sprintf(head, "<guest-%d> ", m->number);
    (by_turn ? say_at_turns_end : say_at_once)(m, head, head_size, line, size);
}

static void heard_frame(struct member *m, const struct frame *frame) {
    char head[WEBSOCKET_HEAD];
    if (frame->opcode == WEBSOCKET_CLOSE) {
        lose(m);
    } else if (frame->opcode == WEBSOCKET_PING) {
        static struct buffer pong;
        pong.size = 0;
        append(&pong, head, websocket_head(head, WEBSOCKET_PONG, frame->size));
        append(&pong, frame->payload, frame->size);
        give(m, pong.data, pong.size);
    } else if (frame->opcode != WEBSOCKET_PONG) {
        size_t size = websocket_head(head, frame->opcode, frame->size);
        if (m->in)
            (by_turn ? say_at_turns_end : say_at_once)(m, head, size, frame->payload, frame->size);
        else
            join(m, "lobby", 5);
    }
}

/* Returns the bytes that were complete. */
static size_t take_frames(struct member *m, char *data, size_t size) {
    size_t at = 0;
    if (!m->upgraded) {
        char answer[WEBSOCKET_ANSWER];
        ssize_t answered = websocket_answer(data, size, answer, &at);
        if (answered < 0) lose(m);
        if (answered <= 0) return 0;
        m->upgraded = true;
        give(m, answer, (size_t)answered);
    }
    while (!m->gone) {
        struct frame frame;
        ssize_t taken = websocket_take(data + at, size - at, &frame);
        if (taken < 0) lose(m);
        if (taken <= 0) break;
        heard_frame(m, &frame);
        at += (size_t)taken;
    }
    return at;
}

static void read_frames(struct member *m, char *data, size_t size) {
    if (!m->partial.size) {
        size_t taken = take_frames(m, data, size);
        if (taken < size) append(&m->partial, data + taken, size - taken);
        return;
    }
    append(&m->partial, data, size);
    size_t taken = take_frames(m, m->partial.data, m->partial.size);
    m->partial.size -= taken;
    memmove(m->partial.data, m->partial.data + taken, m->partial.size);
}

static void give_without_own(struct room *r, struct member *m) {
    static struct buffer others;
    others.size = 0;
    for (size_t i = 0; i < r->part_count; i++)
        if (r->parts[i].from != m) append(&others, r->text.data + r->parts[i].start, r->parts[i].size);
    give(m, others.data, others.size);
    m->spoke = false;
}

static void end_turn(void) {
    for (size_t k = 0; k < spoken_count; k++) {
        struct room *r = spoken_in[k];
        for (size_t i = 0; i < r->count; i++) {
            if (r->members[i]->spoke)
                give_without_own(r, r->members[i]);
            else
                give(r->members[i], r->text.data, r->text.size);
        }
        r->text.size = r->part_count = 0;
    }
    spoken_count = 0;
    bury();
}

static void read_lines(struct member *m, const char *data, size_t read) {
    const char *end = data + read, *newline;
    while ((newline = memchr(data, '\n', (size_t)(end - data))) != NULL) {
        size_t size = (size_t)(newline + 1 - data);
        if (m->partial.size) {
            append(&m->partial, data, size);
            heard(m, m->partial.data, m->partial.size);
            m->partial.size = 0;
        } else {
            heard(m, data, size);
        }
        data += size;
    }
    if (data < end) append(&m->partial, data, (size_t)(end - data));
}

static void readable(struct member *m) {
    ssize_t n = recv(m->fd, inbox, sizeof inbox, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) lose(m);
    if (n <= 0) return;
    if (websocket)
        read_frames(m, inbox, (size_t)n);
    else
        read_lines(m, inbox, (size_t)n);
    if (m->partial.size > MAX_PARTIAL) lose(m);
}

static void accept_some(void) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct member *m = calloc(1, sizeof *m);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = m};
        if (!m) die("memory");
        if (!nagle) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        m->fd = fd;
        m->number = ++last_number;
        if (!websocket) join(m, "lobby", 5);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void listen_somewhere(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) die("listen");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) die("epoll");
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS];
    signal(SIGPIPE, SIG_IGN);
    by_turn = argc > 1 && strcmp(argv[1], "turn") == 0;
    nagle = argc > 2 && strcmp(argv[2], "nagle") == 0;
    websocket = argc > 2 && strcmp(argv[2], "websocket") == 0;
    listen_somewhere();
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct member *m = events[i].data.ptr;
            if (!m) {
                accept_some();
                continue;
            }
            if (!m->gone && events[i].events & EPOLLOUT) flush(m);
            if (!m->gone && events[i].events & ~(uint32_t)EPOLLOUT) readable(m);
        }
        end_turn();
    }
}
