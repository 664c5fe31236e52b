/* machine_limits.c: short loops on all threads at once; the best of several passes is the limit. */
#include "machine_limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { THREADS_MAX = 64, PASSES = 5 };
#define BUFFER_BYTES (512ull << 20)

typedef struct job {
    double (*body)(const struct job *); /* work done: bytes or multiply-adds */
    const char *begin;
    uint64_t bytes;
    double work;
    volatile double sink;
} job;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *run_job(void *arg)
{
    job *j = arg;
    j->work = j->body(j);
    return NULL;
}

static double best_rate(double (*body)(const job *), uint32_t threads, const char *buffer, uint64_t bytes)
{
    pthread_t handle[THREADS_MAX];
    job jobs[THREADS_MAX];
    double best = 0;

    threads = threads > THREADS_MAX ? THREADS_MAX : threads;
    for (int pass = 0; pass < PASSES; pass++) {
        double begin = now(), work = 0;
        for (uint32_t t = 0; t < threads; t++) {
            jobs[t] = (job){.body = body, .begin = buffer + bytes / threads * t, .bytes = bytes / threads};
            if (pthread_create(&handle[t], NULL, run_job, &jobs[t]) != 0)
                abort();
        }
        for (uint32_t t = 0; t < threads; t++) {
            pthread_join(handle[t], NULL);
            work += jobs[t].work;
        }
        double rate = work / (now() - begin);
        best = rate > best ? rate : best;
    }
    return best;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static double read_bytes(const job *j)
{
    __m256i sum[4] = {0};
    for (uint64_t at = 0; at + 128 <= j->bytes; at += 128) {
        const __m256i *p = (const __m256i *)(const void *)(j->begin + at);
        _mm_prefetch(j->begin + at + 1024, _MM_HINT_T0);
        _mm_prefetch(j->begin + at + 1088, _MM_HINT_T0);
        for (int i = 0; i < 4; i++)
            sum[i] = _mm256_xor_si256(sum[i], _mm256_loadu_si256(p + i));
    }
    __m256i all = _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3]));
    ((job *)(uintptr_t)j)->sink = (double)_mm256_extract_epi64(all, 0);
    return (double)j->bytes;
}

enum { ROUNDS = 20000000, CHAINS = 10 };

__attribute__((target("avx2,fma"))) static double multiply_adds(const job *j)
{
    __m256 sum[CHAINS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-6f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_set1_ps((float)i);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], x, y);
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm256_add_ps(sum[0], sum[i]);
    ((job *)(uintptr_t)j)->sink = (double)_mm256_cvtss_f32(sum[0]);
    return 8.0 * CHAINS * ROUNDS;
}

__attribute__((target("avx512f"))) static double multiply_adds_wide(const job *j)
{
    __m512 sum[CHAINS], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-6f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_fmadd_ps(sum[i], x, y);
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    ((job *)(uintptr_t)j)->sink = (double)_mm512_cvtss_f32(sum[0]);
    return 16.0 * CHAINS * ROUNDS;
}

__attribute__((target("avx2"))) static double integer_multiply_adds(const job *j)
{
    __m256i sum[CHAINS] = {0}, x = _mm256_set1_epi16(3);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CHAINS; i++) {
            __m256i y = _mm256_set1_epi16(5);
            __asm__ volatile("" : "+x"(y)); /* keeps the product in the loop */
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(x, y));
        }
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm256_add_epi32(sum[0], sum[i]);
    ((job *)(uintptr_t)j)->sink = (double)_mm256_extract_epi32(sum[0], 0);
    return 16.0 * CHAINS * ROUNDS;
}

__attribute__((target("avx512f,avx512vnni"))) static double integer_multiply_adds_wide(const job *j)
{
    __m512i sum[CHAINS] = {0}, x = _mm512_set1_epi16(3), y = _mm512_set1_epi16(5);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_dpwssd_epi32(sum[i], x, y);
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm512_add_epi32(sum[0], sum[i]);
    ((job *)(uintptr_t)j)->sink = (double)_mm512_reduce_add_epi32(sum[0]);
    return 32.0 * CHAINS * ROUNDS;
}

/* Six products in flight hide the latency of one. Assembly: the compiler's intrinsics need AMX in every file's flags.
 */
static double tile_multiply_adds(const job *j)
{
    static const uint8_t config[64] __attribute__((aligned(64))) = {
        [0] = 1,   [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
        [48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16};
    const int rounds = ROUNDS / 8;

    (void)j;
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
    for (int round = 0; round < rounds; round++)
        __asm__ volatile("tdpbf16ps %%tmm7, %%tmm6, %%tmm0\n\ttdpbf16ps %%tmm7, %%tmm6, %%tmm1\n\t"
                         "tdpbf16ps %%tmm7, %%tmm6, %%tmm2\n\ttdpbf16ps %%tmm7, %%tmm6, %%tmm3\n\t"
                         "tdpbf16ps %%tmm7, %%tmm6, %%tmm4\n\ttdpbf16ps %%tmm7, %%tmm6, %%tmm5"
                         :);
    __asm__ volatile("tilerelease");
    return 16.0 * 16 * 32 * 6 * rounds;
}

static int has_tiles(void)
{
    const unsigned wanted = 1u << 22 | 1u << 24; /* AMX-BF16, AMX-TILE */
    unsigned eax, ebx, ecx, edx;

    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & wanted) == wanted &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}
#else
static double read_bytes(const job *j)
{
    uint64_t sum = 0, word;
    for (uint64_t at = 0; at + 8 <= j->bytes; at += 8) {
        memcpy(&word, j->begin + at, 8);
        sum ^= word;
    }
    ((job *)(uintptr_t)j)->sink = (double)sum;
    return (double)j->bytes;
}

enum { ROUNDS = 20000000, CHAINS = 16 };

static double multiply_adds(const job *j)
{
    float sum[CHAINS] = {0};
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = sum[i] * 0.999f + 1e-6f;
    ((job *)(uintptr_t)j)->sink = (double)sum[0];
    return (double)CHAINS * ROUNDS;
}
#endif

double machine_read_bandwidth(uint32_t threads)
{
    char *buffer = aligned_alloc(64, BUFFER_BYTES);
    if (!buffer)
        return 0;
    memset(buffer, 1, BUFFER_BYTES);
    double rate = best_rate(read_bytes, threads, buffer, BUFFER_BYTES);
    free(buffer);
    return rate;
}

double machine_multiply_adds(uint32_t threads)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        return best_rate(multiply_adds_wide, threads, NULL, 0);
#endif
    return best_rate(multiply_adds, threads, NULL, 0);
}

double machine_integer_multiply_adds(uint32_t threads)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vnni"))
        return best_rate(integer_multiply_adds_wide, threads, NULL, 0);
    return best_rate(integer_multiply_adds, threads, NULL, 0);
#else
    (void)threads;
    return 0;
#endif
}

double machine_tile_multiply_adds(uint32_t threads)
{
#if defined(__x86_64__)
    if (has_tiles())
        return best_rate(tile_multiply_adds, threads, NULL, 0);
#endif
    (void)threads;
    return 0;
}
