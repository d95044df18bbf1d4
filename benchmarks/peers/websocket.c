/* The server's side of a WebSocket (RFC 6455): the answer to the opening request, frames in, heads of
 * frames out. Nothing is compressed, and a message is one frame.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "websocket.h"

#define KEY 24 /* 16 bytes in base 64 */
#define DIGEST 20
#define BLOCK 64

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, MASK = 4 };

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
static const char key_field[] = "\r\nsec-websocket-key:";

static uint32_t rotate(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

/* SHA-1 (RFC 3174) of one block of 64 bytes. */
static void digest_block(uint32_t *h, const uint8_t *block) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (b & c) | (~b & d)
                     : i < 40 ? b ^ c ^ d
                     : i < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        static const uint32_t k[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
        uint32_t next = rotate(a, 5) + f + e + k[i / 20] + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

/* SHA-1 of less than 2 blocks, which a key with the GUID is. */
static void digest(const char *data, size_t size, uint8_t *out) {
    uint32_t h[] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[2 * BLOCK] = {0};
    memcpy(padded, data, size);
    padded[size] = 0x80;
    size_t end = size + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
    padded[end - 2] = (uint8_t)(size * 8 >> 8);
    padded[end - 1] = (uint8_t)(size * 8);
    for (size_t at = 0; at < end; at += BLOCK) digest_block(h, padded + at);
    for (int i = 0; i < DIGEST; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const uint8_t *data, size_t size, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t at = 0; at < size; at += 3) {
        uint32_t three = (uint32_t)data[at] << 16;
        if (at + 1 < size) three |= (uint32_t)data[at + 1] << 8;
        if (at + 2 < size) three |= data[at + 2];
        for (int i = 0; i < 4; i++) *out++ = at + (size_t)i > size ? '=' : digits[three >> (18 - 6 * i) & 63];
    }
    *out = 0;
}

ssize_t websocket_answer(const char *request, size_t size, char *answer, size_t *taken) {
    const char *end = memmem(request, size, "\r\n\r\n", 4);
    if (!end) return 0;
    char head[4096], accept[32], key[KEY + sizeof guid];
    size_t length = (size_t)(end - request);
    if (length >= sizeof head) return -1;
    memcpy(head, request, length);
    head[length] = 0;
    const char *field = strcasestr(head, key_field);
    if (!field) return -1;
    field += sizeof key_field - 1;
    field += strspn(field, " ");
    if (strcspn(field, " \r") != KEY) return -1;
    uint8_t hash[DIGEST];
    memcpy(key, field, KEY);
    memcpy(key + KEY, guid, sizeof guid);
    digest(key, KEY + sizeof guid - 1, hash);
    base64(hash, sizeof hash, accept);
    *taken = length + 4;
    return snprintf(answer, WEBSOCKET_ANSWER,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: %s\r\n\r\n",
                    accept);
}

ssize_t websocket_take(char *data, size_t size, struct frame *frame) {
    const uint8_t *head = (const uint8_t *)data;
    if (size < 2) return 0;
    if (!(head[0] & FIN) || head[0] & RESERVED || !(head[1] & MASKED)) return -1;
    size_t bytes = (head[1] & ~MASKED) == 126 ? 2 : (head[1] & ~MASKED) == 127 ? 8 : 0;
    size_t start = 2 + bytes + MASK;
    if (size < start) return 0;
    uint64_t length = bytes ? 0 : head[1] & ~MASKED;
    for (size_t i = 0; i < bytes; i++) length = length << 8 | head[2 + i];
    if (length > size - start) return 0;
    for (size_t i = 0; i < length; i++) data[start + i] ^= data[start - MASK + (i & 3)];
    *frame = (struct frame){head[0] & OPCODE, data + start, (size_t)length};
    return (ssize_t)(start + length);
}

size_t websocket_head(char *out, int opcode, size_t size) {
    uint8_t *p = (uint8_t *)out;
    size_t bytes = size < 126 ? 0 : size < 1 << 16 ? 2 : 8;
    *p++ = (uint8_t)(FIN | opcode);
    *p++ = (uint8_t)(bytes == 0 ? size : bytes == 2 ? 126 : 127);
    while (bytes--) *p++ = (uint8_t)(size >> 8 * bytes);
    return (size_t)(p - (uint8_t *)out);
}
