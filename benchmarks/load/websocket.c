/* The client's side of a WebSocket (RFC 6455): the opening request, masked frames out, frames in.
 *
 * It offers no compression, and so every message is one plain text frame. A server that does not keep
 * to this ends the run.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define HEAD_MOST 4096 /* bytes of the answer to the opening request */
#define CONTROL_MOST 125

static const char key[] = "dGhlIHNhbXBsZSBub25jZQ=="; /* and what it must be answered with: RFC 6455, 1.3 */
static const char accept_field[] = "\r\nsec-websocket-accept:", accepted[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
static const char switched[] = "HTTP/1.1 101 ";

enum { FIN = 0x80, MASKED = 0x80, OPCODE = 0x0f, TEXT = 1, PING = 9, PONG = 10 };

/* What has come of the answer, or of a frame: only while it is incomplete. */
struct websocket {
    uint8_t head[10];
    uint8_t headed;
    uint64_t left; /* bytes of the payload that are still to come */
    char control[CONTROL_MOST];
    uint8_t controlled;
    size_t answered;
    char answer[];
};

size_t websocket_request(char *out) {
    return (size_t)sprintf(out,
                           "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
                           opt.port, key);
}

/* A mask has to be unpredictable for what runs in browsers; here it only has to change. */
static uint32_t next_mask(void) {
    static uint32_t mask = 0x9e3779b9u;
    mask ^= mask << 13;
    mask ^= mask >> 17;
    return mask ^= mask << 5;
}

static size_t frame_write(char *out, int opcode, const char *data, size_t size) {
    uint8_t *p = (uint8_t *)out;
    uint32_t mask = next_mask();
    *p++ = (uint8_t)(FIN | opcode);
    if (size <= CONTROL_MOST) {
        *p++ = (uint8_t)(MASKED | size);
    } else {
        int bytes = size < 1 << 16 ? 2 : 8;
        *p++ = (uint8_t)(MASKED | (bytes == 2 ? 126 : 127));
        while (bytes--) *p++ = (uint8_t)(size >> 8 * bytes);
    }
    memcpy(p, &mask, 4);
    for (size_t i = 0; i < size; i++) p[4 + i] = (uint8_t)data[i] ^ p[i & 3];
    return (size_t)(p + 4 + size - (uint8_t *)out);
}

void websocket_write(struct conn *c, const char *data, size_t size) {
    static char *frame;
    static size_t room;
    if (size && data[size - 1] == '\n') size--; /* ends a line, and here the frame ends it */
    if (!size) return;
    if (size + 14 > room && !(frame = realloc(frame, room = size + 14))) die("memory");
    conn_write_bytes(c, frame, frame_write(frame, TEXT, data, size));
}

static bool is_accepted(const char *answer) {
    const char *field = strcasestr(answer, accept_field);
    if (!field || strncmp(answer, switched, sizeof switched - 1) != 0) return false;
    field += sizeof accept_field - 1;
    return strncmp(field + strspn(field, " "), accepted, sizeof accepted - 1) == 0;
}

/* Keeps what has come of the answer to the opening request. Returns whether it is complete; then
 * `rest` and `left` are what came behind it. */
bool websocket_answered(struct conn *c, const char *data, size_t size, const char **rest, size_t *left) {
    size_t before = c->websocket ? c->websocket->answered : 0;
    size_t taken = size < HEAD_MOST - before ? size : HEAD_MOST - before;
    struct websocket *ws = c->websocket = realloc(c->websocket, sizeof *ws + before + taken + 1);
    if (!ws) die("memory");
    if (!before) memset(ws, 0, sizeof *ws);
    memcpy(ws->answer + before, data, taken);
    ws->answered = before + taken;
    ws->answer[ws->answered] = 0;
    char *end = strstr(ws->answer, "\r\n\r\n");
    if (!end) {
        if (ws->answered == HEAD_MOST) fail("the answer to an opening request is too long");
        return false;
    }
    end[2] = 0;
    if (!is_accepted(ws->answer)) {
        fprintf(stderr, "%.*s\n", (int)strcspn(ws->answer, "\r"), ws->answer);
        fail("a server has refused a WebSocket");
    }
    *rest = data + (end + 4 - ws->answer) - before;
    *left = (size_t)(data + size - *rest);
    free(c->websocket); /* a quiet connection has none */
    c->websocket = NULL;
    return true;
}

/* The length of the head of a frame of which at least two bytes are here. */
static size_t head_size(const uint8_t *head) {
    int size = head[1] & ~MASKED;
    return size < 126 ? 2 : size == 126 ? 4 : 10;
}

static uint64_t payload_size(const uint8_t *head) {
    uint64_t size = head[1];
    size_t bytes = head_size(head) - 2;
    if (bytes) size = 0;
    for (size_t i = 0; i < bytes; i++) size = size << 8 | head[2 + i];
    return size;
}

/* Checks the first two bytes of a frame. */
static void check(const uint8_t *head) {
    int opcode = head[0] & OPCODE;
    if (head[0] & ~(FIN | OPCODE) || !(head[0] & FIN) || (opcode != TEXT && opcode < 8))
        fail("a frame is not a whole text message without compression");
    if (head[1] & MASKED) fail("a server has masked a frame");
    if (opcode != TEXT && head[1] > CONTROL_MOST) fail("a control frame is too long");
}

/* Handles a piece of a frame's payload. */
static void take(struct conn *c, int opcode, struct websocket *ws, const char *data, size_t size, bool whole) {
    if (opcode == TEXT) {
        work->received(c, data, size);
        return;
    }
    if (ws) { /* collect it */
        memcpy(ws->control + ws->controlled, data, size);
        ws->controlled = (uint8_t)(ws->controlled + size);
        data = ws->control;
        size = ws->controlled;
    }
    char pong[CONTROL_MOST + 6];
    if (whole && opcode == PING) conn_write_bytes(c, pong, frame_write(pong, PONG, data, size));
}

static struct websocket *keep(struct conn *c) {
    if (!c->websocket && !(c->websocket = calloc(1, sizeof *c->websocket))) die("memory");
    return c->websocket;
}

/* Goes on with a frame of which a part came with an earlier read; returns the bytes taken. */
static size_t resume(struct conn *c, const char *data, size_t size) {
    struct websocket *ws = c->websocket;
    size_t taken = 0;
    while (ws->headed < 2 || ws->headed < head_size(ws->head)) {
        if (taken == size) return taken;
        ws->head[ws->headed++] = (uint8_t)data[taken++];
        if (ws->headed == 2) check(ws->head);
        if (ws->headed >= 2 && ws->headed == head_size(ws->head)) ws->left = payload_size(ws->head);
    }
    size_t piece = size - taken < ws->left ? size - taken : (size_t)ws->left;
    ws->left -= piece;
    bool whole = ws->left == 0;
    int opcode = ws->head[0] & OPCODE;
    take(c, opcode, ws, data + taken, piece, whole);
    if (whole && c->websocket == ws) {
        free(ws);
        c->websocket = NULL;
    }
    return taken + piece;
}

void websocket_received(struct conn *c, const char *data, size_t size) {
    while (size && c->state == CONN_OPEN) {
        const uint8_t *head = (const uint8_t *)data;
        size_t taken, start = size < 2 ? size + 1 : head_size(head);
        if (c->websocket || start > size || payload_size(head) > size - start) {
            keep(c);
            taken = resume(c, data, size);
        } else { /* the usual case: a whole frame */
            check(head);
            size_t length = (size_t)payload_size(head);
            take(c, head[0] & OPCODE, NULL, data + start, length, true);
            taken = start + length;
        }
        data += taken;
        size -= taken;
    }
}
