/* plugins/cpu/family_choice.c: see family_choice.h. CPUID says what the CPU has, XGETBV which registers the operating
 * system saves. Tile data is a state that Linux grants to a process on request (Documentation/arch/x86/xstate.rst).
 */
#include "family_choice.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { XFEATURE_TILE_CONFIG = 1 << 17, XFEATURE_TILE_DATA = 1 << 18, ARCH_REQ_XCOMP_PERM = 0x1023 };

/* clang 14 has no name for this one. Its registers are AVX's, which the test for AVX2 has asked the system about. */
static bool has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

static bool has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_avx512(void)
{
    __builtin_cpu_init();
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

static bool system_saves_tiles(void)
{
    const uint32_t wanted = XFEATURE_TILE_CONFIG | XFEATURE_TILE_DATA;
    uint32_t low, high;

    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & wanted) == wanted && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, 18) == 0;
}

/* Every CPU with AMX has the AVX-512 extensions that its kernels use beside it (VBMI, BF16). */
static bool has_amx(void)
{
    const unsigned bf16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25, vbmi = 1u << 1, avx512_bf16 = 1u << 5;
    unsigned eax, ebx, ecx, edx;

    if (!has_avx512() || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        return false;
    if ((edx & (bf16 | tile | int8)) != (bf16 | tile | int8) || !(ecx & vbmi))
        return false;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & avx512_bf16) && system_saves_tiles();
}
#endif

static bool has_portable(void)
{
    return true;
}

/* Best first. */
static const struct family {
    const char *name, *lacks;
    bool (*present)(void);
    const kernels *(*table)(void);
} families[] = {
#if defined(__x86_64__)
    {"amx", "AMX-TILE, AMX-INT8 or AMX-BF16, or the system does not allow it", has_amx, kernels_amx},
    {"avx512", "AVX-512 F, BW, DQ, VL or VNNI", has_avx512, kernels_avx512},
    {"avx2", "AVX2, FMA or F16C", has_avx2, kernels_avx2},
#endif
    {"portable", "", has_portable, kernels_portable},
};

tn_status family_choose(const char *isa, const kernels **ret_kernels, tn_error *err)
{
    const bool automatic = strcmp(isa, "auto") == 0;

    for (uint32_t i = 0; i < sizeof families / sizeof *families; i++) {
        const struct family *f = &families[i];
        if (!automatic && strcmp(isa, f->name) != 0)
            continue;
        if (f->present()) {
            *ret_kernels = f->table();
            return TN_OK;
        }
        if (!automatic)
            return tn_fail(err, TN_E_UNSUPPORTED, "isa = %s: this CPU lacks %s; use isa = auto", isa, f->lacks);
    }
    return tn_fail(err, TN_E_UNSUPPORTED, "isa = %s is not for this machine; use isa = auto", isa);
}
