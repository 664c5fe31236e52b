/* asan_stand_in.c: a name that libasan looks for as it starts, preloaded with it into PostgreSQL.
 *
 * libasan starts at a program's first malloc and asks for swift_demangle. Where nobody has that, it asks for the
 * complaint (dlerror), which glibc translates, under the lock of the text domains; and PostgreSQL's first malloc is
 * that of libgpg-error's constructor, which binds its text domain under the very same lock. The server would wait for
 * itself. */
char *swift_demangle(const char *name, unsigned long bytes, char *out, unsigned long *out_bytes, unsigned flags);

__attribute__((visibility("default"))) char *swift_demangle(const char *name, unsigned long bytes, char *out,
                                                            unsigned long *out_bytes, unsigned flags)
{
    (void)name;
    (void)bytes;
    (void)out;
    (void)out_bytes;
    (void)flags;
    return (char *)0; /* no name of Swift's */
}
