/* doctor.c: `tenon doctor`: what this machine offers, what will work and what will not, and why. */
#include "base/processors.h"
#include "cli/command.h"
#include "group/identity.h"
#include "registry/registry.h"
#include "version.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { PORT = 8000 };

static void print_line(const char *label, const char *format, ...) TN_PRINTF(2, 3);
static void print_line(const char *label, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%-16s ", label);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

static void examine_system(void)
{
    struct utsname system;

    if (uname(&system) == 0)
        print_line("system", "%s %s, %s", system.sysname, system.release, system.machine);
    print_line("cores", "%ld online, %u usable by this process", sysconf(_SC_NPROCESSORS_ONLN), processors_usable());
}

#if defined(__x86_64__)
/* Tiles of 8-bit and bfloat16 numbers. Compilers have no common name for them yet. */
static bool has_amx(void)
{
    const unsigned all = 1u << 22 | 1u << 24 | 1u << 25;
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & all) == all;
}
#endif

/* Instruction sets that kernel families use. */
static void examine_instructions(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    print_line("instructions", "AVX2+FMA %s, AVX-512 %s, VNNI %s, AMX %s", avx2 ? "yes" : "no", avx512 ? "yes" : "no",
               __builtin_cpu_supports("avx512vnni") ? "yes" : "no", has_amx() ? "yes" : "no");
    if (!avx2)
        print_line("", "without AVX2 the portable kernels run: right, but slow");
#else
    print_line("instructions", "not x86-64: the portable kernels run: right, but slow");
#endif
}

static void examine_driver(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    print_line("CUDA driver", "%s", driver ? "found (libcuda.so.1)" : "not found: GPU backends will not find a device");
    if (driver)
        dlclose(driver);
}

static void examine_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) {
        print_line("port 8000", "no sockets: %s", strerror(errno));
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
        print_line("port 8000", "free on 127.0.0.1");
    else
        print_line("port 8000", "127.0.0.1: %s; choose another with http_frontend.listen", strerror(errno));
    close(fd);
}

/* The file system of the registry, or of what will hold it. */
static void examine_disk(const settings *settings)
{
    char root[PATH_MAX], held[PATH_MAX], total[16], free_bytes[16];
    struct statvfs disk;
    tn_error err = TN_ERROR_INIT;

    if (registry_root(settings_string(settings, "registry", "path"), root, &err) != TN_OK) {
        print_line("disk", "%s", err.msg);
        return;
    }
    memcpy(held, root, sizeof held);
    while (statvfs(held, &disk) != 0) {
        char *slash = strrchr(held, '/');
        if (errno != ENOENT || !slash || !held[1]) {
            print_line("disk", "%s: %s", held, strerror(errno));
            return;
        }
        slash[slash == held] = '\0';
    }
    print_line("disk", "%s of %s free for models, in %s",
               plan_format_bytes((uint64_t)disk.f_bavail * disk.f_frsize, free_bytes),
               plan_format_bytes((uint64_t)disk.f_blocks * disk.f_frsize, total), root);
}

/* Whether they meet is for `tenon group` to find out, which all of them must run. */
static void examine_group(const settings *settings)
{
    group_identity identity;
    tn_error err = TN_ERROR_INIT;

    if (group_identity_find(settings, group_environment, &identity, &err) != TN_OK)
        print_line("group", "%s", err.msg);
    else if (identity.world > 1)
        print_line("group", "rank %u of %u by %s, who meet at %s; `tenon group` tries it", identity.rank,
                   identity.world, identity.source, identity.store);
}

static int examine_backend(args *a)
{
    session session;
    tn_error err = TN_ERROR_INIT;
    char total[16], free_bytes[16];
    int code = session_open(&session, a, STAGE_PLUGINS);

    if (code >= 0)
        return code;
    print_line("plugins", "backend %s, quant %s, tokenizer %s: all load, in %s",
               settings_string(session.settings, "backend", "plugin"),
               settings_string(session.settings, "quant", "plugins"),
               settings_string(session.settings, "tokenizer", "plugins"),
               settings_string(session.settings, "plugins", "path"));
    examine_disk(session.settings);
    examine_group(session.settings);
    for (uint32_t i = 0;; i++) {
        tn_devinfo info = {.struct_size = sizeof info};
        tn_status status = session.instance.backend->device(i, &info, &err);
        if (status != TN_OK) {
            if (i == 0)
                print_line("device", "none: %s", err.msg[0] ? err.msg : tn_status_text(status));
            code = i == 0 ? EXIT_FAILURE : 0;
            break;
        }
        print_line("device", "%s: %s of %s free; %s", info.name, plan_format_bytes(info.mem_free, free_bytes),
                   plan_format_bytes(info.mem_total, total), info.features);
    }
    session_close(&session);
    return code;
}

static int run_doctor(const command *command, int argc, char **argv)
{
    args a;
    int code = args_parse(command, NULL, 0, argc, argv, &a);

    if (code >= 0)
        return code;
    print_line("tenon", "%s, ABI %d.%d", TENON_VERSION, TN_ABI_MAJOR, TN_ABI_MINOR);
    examine_system();
    examine_instructions();
    examine_driver();
    examine_port();
    code = examine_backend(&a);
    args_finish(&a);
    return code;
}

const command command_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "examine this machine: what will work, and why not",
    .help = "Looks at cores, instruction sets and the default port, and at what the settings name: plugins, the\n"
            "registry's disk, the group, devices and their memory.",
    .positional_min = 0,
    .positional_max = 0,
    .run = run_doctor,
};
