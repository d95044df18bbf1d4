/* Latencies in buckets: 64 to every power of two, so a figure is right within 1.6 %. */
#include <stdio.h>

#include "load.h"

#define PARTS 64
static uint64_t counts[64 * PARTS], total, longest;
static double sum;

static unsigned bucket_of(uint64_t ns) {
    if (ns < PARTS) return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - 6;
    return (shift + 1) * PARTS + (unsigned)((ns >> shift) - PARTS);
}

static double middle_of(unsigned bucket) {
    if (bucket < PARTS) return bucket;
    unsigned shift = bucket / PARTS - 1;
    return (double)((bucket % PARTS + PARTS) * (1ull << shift)) + (double)(1ull << shift) / 2;
}

void latency_add_many(uint64_t ns, uint64_t count) {
    counts[bucket_of(ns)] += count;
    total += count;
    sum += (double)ns * (double)count;
    if (count && ns > longest) longest = ns;
}

void latency_add(uint64_t ns) { latency_add_many(ns, 1); }

static double percentile(double share) {
    uint64_t wanted = (uint64_t)(share * (double)total), seen = 0;
    for (unsigned i = 0; i < 64 * PARTS; i++) {
        seen += counts[i];
        if (seen > wanted) return middle_of(i) / 1e6;
    }
    return (double)longest / 1e6;
}

void latency_report(void) {
    if (total == 0) return;
    printf("\"mean_ms\": %.4f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"max_ms\": %.4f, ",
           sum / (double)total / 1e6, percentile(0.5), percentile(0.99), percentile(0.999), (double)longest / 1e6);
}
