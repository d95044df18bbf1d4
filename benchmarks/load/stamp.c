/* The stamp: "@" (a message) or "=" (an id), 6 digits of microseconds, 5 digits of number, base 64.
 *
 * It is found wherever a server puts the text, in any form, so that nothing here knows the wire of a
 * server; its digits need no escape in JSON, and neither mark occurs in anything else that is sent.
 */
#include <string.h>

#include "load.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static int8_t values[256];

static void put(char *out, int count, uint64_t value) {
    for (int i = count - 1; i >= 0; i--, value >>= 6) out[i] = digits[value & 63];
}

static bool get(const char *in, int count, uint64_t *value) {
    *value = 0;
    for (int i = 0; i < count; i++) {
        int8_t digit = values[(uint8_t)in[i]];
        if (digit == 0) return false;
        *value = *value << 6 | (uint64_t)(digit - 1);
    }
    return true;
}

void stamp_write(char *out, char mark, uint64_t at, uint64_t number) {
    out[0] = mark;
    put(out + 1, 6, (at - started_at) / 1000);
    put(out + 7, 5, number);
}

bool stamp_read(const char *in, uint64_t *at, uint64_t *number) {
    if (values['A'] == 0)
        for (int i = 0; i < 64; i++) values[(uint8_t)digits[i]] = (int8_t)(i + 1);
    if (!get(in + 1, 6, at) || !get(in + 7, 5, number)) return false;
    *at = *at * 1000 + started_at;
    return true;
}

/* Spreads the bits, so that equal sums mean equal sets of numbers (splitmix64). */
uint64_t stamp_mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* Calls `found` for each stamp, over the borders of reads too; `skip`: bytes from one that hold no other. */
void stamps_find(struct conn *c, char mark, const char *data, size_t size, size_t skip,
                 void (*found)(struct conn *, uint64_t, uint64_t)) {
    const char *end = data + size;
    uint64_t at, number;
    if (c->carried) {
        size_t missing = (size_t)(STAMP - c->carried), taken = size < missing ? size : missing;
        memcpy(c->carry + c->carried, data, taken);
        c->carried = (uint8_t)(c->carried + taken);
        if (c->carried < STAMP) return;
        c->carried = 0;
        data += taken;
        if (stamp_read(c->carry, &at, &number)) found(c, at, number);
    }
    while (data < end && (data = memchr(data, mark, (size_t)(end - data))) != NULL) {
        size_t left = (size_t)(end - data);
        if (left < STAMP) {
            memcpy(c->carry, data, left);
            c->carried = (uint8_t)left;
            return;
        }
        if (stamp_read(data, &at, &number)) found(c, at, number);
        data = left > skip ? data + skip : end;
    }
}
