/* The load generator: one process, one thread, one epoll, so that it costs far less than any server.
 *
 *   main.c       options, the table of works, the report
 *   loop.c       epoll, the timer, and the phases of a run
 *   conn.c       one connection: connect, TLS, read, write
 *   websocket.c  the frames of a connection, if it is a WebSocket
 *   stamp.c      the time and number that every message carries
 *   histogram.c  latencies
 *   broadcast.c, echo.c, connects.c, acked.c, idle.c   the works
 *
 * It prints one word a line when a phase of the run begins ("connected", "begin", "end"), and at last
 * one JSON object. After "connected" it waits for a line on standard input.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef NO_TLS
#include <openssl/ssl.h>
#else
typedef void SSL;
typedef void SSL_SESSION;
#endif

#define SECOND 1000000000ull

struct options {
    int port;
    long connections; /* how many at a time */
    long in_flight;   /* how many may be on their way to being open: below a listen backlog of 50 */
    double rate;      /* messages a second, of all senders together */
    long size;        /* bytes of text in a message, or of a request */
    long rooms;
    long senders; /* how many of the connections speak; 0: all of them, in turn */
    long depth;   /* messages of one connection that may wait for their ack */
    double warmup, seconds, drain;
    bool json, tls, resume, websocket;
};

enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_HANDSHAKING, CONN_UPGRADING, CONN_OPEN };

#define STAMP 12 /* a mark, 6 digits of time, 5 digits of number */

struct conn {
    int fd;
    enum conn_state state;
    uint32_t index;
    uint32_t interest; /* what epoll was asked for */
    SSL *ssl;
    SSL_SESSION *session; /* for the next handshake of this slot */
    uint64_t opened_at;   /* when connect() was called */
    char *unsent;         /* what the socket did not take; NULL if it took everything */
    size_t unsent_size, unsent_sent;
    struct websocket *websocket; /* an incomplete answer or frame; NULL if there is none */
    /* What the works note about it. */
    uint64_t got, got_sum, sent, sent_sum;
    uint64_t requested_at, request, received;
    char carry[STAMP]; /* the beginning of a stamp at the end of a read */
    uint8_t carried;
    bool heard;
};

enum phase { OPENING, HOLDING, WARMING, MEASURING, DRAINING, DONE };

struct work {
    const char *name;
    void (*start)(void);
    void (*opened)(struct conn *);
    void (*received)(struct conn *, const char *, size_t);
    bool (*ready)(uint64_t now); /* everyone is connected: may the run begin? */
    void (*go)(void);            /* the first moment of the run */
    void (*tick)(uint64_t now);  /* at least every 10 ms, and as often as `rate` asks */
    bool (*finished)(void);      /* everything has come back */
    void (*report)(void);        /* members of the JSON object, each ending in ", " */
    bool reopens;                /* connections are opened again and again: none is awaited */
};

extern struct options opt;
extern const struct work *work;
extern struct conn *conns;
extern enum phase phase;
extern uint64_t started_at, go_at, begin_at, end_at;
extern long open_count, lost_count, failed_count, established_count, resumed_count;
extern const struct work broadcast_work, echo_work, connects_work, acked_work, idle_work;

uint64_t now_ns(void);
void fail(const char *why);  /* end with this sentence */
void die(const char *what); /* end with the reason in errno */
void run(void);

void conn_start(void);
void conn_open(struct conn *c);
void conn_close(struct conn *c);
void conn_event(struct conn *c, uint32_t events);
void conn_write(struct conn *c, const char *data, size_t size); /* one message, in a frame if there are frames */
void conn_write_bytes(struct conn *c, const char *data, size_t size);
void loop_watch(struct conn *c, uint32_t events, bool first);

size_t websocket_request(char *out);
bool websocket_answered(struct conn *c, const char *data, size_t size, const char **rest, size_t *left);
void websocket_received(struct conn *c, const char *data, size_t size);
void websocket_write(struct conn *c, const char *data, size_t size);

void stamp_write(char *out, char mark, uint64_t at, uint64_t number);
bool stamp_read(const char *in, uint64_t *at, uint64_t *number);
void stamps_find(struct conn *c, char mark, const char *data, size_t size, size_t skip,
                 void (*found)(struct conn *, uint64_t at, uint64_t number));
uint64_t stamp_mix(uint64_t number);

void latency_add(uint64_t ns);
void latency_add_many(uint64_t ns, uint64_t count);
void latency_report(void);

size_t message_write(char *out, struct conn *c, uint64_t at, uint64_t number, bool with_ack);
size_t hello_write(char *out, struct conn *c);

#endif
