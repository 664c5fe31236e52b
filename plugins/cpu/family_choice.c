/* plugins/cpu/family_choice.c: see family_choice.h. The compiler's CPU test also asks the operating system (XGETBV)
 * whether it saves the wider registers.
 */
#include "family_choice.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>

/* clang 14 has no name for this one. Its registers are AVX's, which the test for AVX2 has asked the system about. */
static bool has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}
#endif

static bool has_avx2(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
#else
    return false;
#endif
}

static bool has_avx512(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

tn_status family_choose(const char *isa, const kernels **ret_kernels, tn_error *err)
{
    bool automatic = strcmp(isa, "auto") == 0;

#if defined(__x86_64__)
    if ((automatic && has_avx512()) || strcmp(isa, "avx512") == 0) {
        if (!has_avx512())
            return tn_fail(err, TN_E_UNSUPPORTED,
                           "isa = avx512: this CPU lacks AVX-512 F, BW, DQ, VL or VNNI; use isa = auto");
        *ret_kernels = kernels_avx512();
        return TN_OK;
    }
    if ((automatic && has_avx2()) || strcmp(isa, "avx2") == 0) {
        if (!has_avx2())
            return tn_fail(err, TN_E_UNSUPPORTED, "isa = avx2: this CPU lacks AVX2, FMA or F16C; use isa = auto");
        *ret_kernels = kernels_avx2();
        return TN_OK;
    }
#else
    (void)has_avx2;
    (void)has_avx512;
#endif
    if (automatic || strcmp(isa, "portable") == 0) {
        *ret_kernels = kernels_portable();
        return TN_OK;
    }
    return tn_fail(err, TN_E_UNSUPPORTED, "isa = %s is not for this machine; use isa = auto", isa);
}
