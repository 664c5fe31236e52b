/* dispatch.c: a command found by its name, at the first level and below it. */
#include "cli/command.h"

#include "base/edit_distance.h"

#include <string.h>

enum { COMMANDS_MAX = 32 };

static const char *name_of(const char *prefix, const command *command)
{
    return command->name + strlen(prefix);
}

void command_list(FILE *out, const char *prefix, const command *const *commands, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        fprintf(out, "  %-14s %s\n", name_of(prefix, commands[i]), commands[i]->summary);
}

int command_dispatch(const char *prefix, const command *const *commands, uint32_t count, const char *name, int argc,
                     char **argv)
{
    const char *names[COMMANDS_MAX];

    TN_ASSERT(count <= COMMANDS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        names[i] = name_of(prefix, commands[i]);
        if (strcmp(name, names[i]) == 0)
            return commands[i]->run(commands[i], argc, argv);
    }
    const char *nearest = nearest_name(name, names, count);
    fprintf(stderr, "tenon: there is no command '%s%s'", prefix, name);
    if (nearest)
        fprintf(stderr, "; did you mean '%s%s'?", prefix, nearest);
    fprintf(stderr, " (`tenon %s--help` lists them)\n", prefix);
    return EXIT_USAGE;
}

static void print_family(FILE *out, const command *family, const char *prefix, const command *const *commands,
                         uint32_t count)
{
    fprintf(out, "usage: tenon %sCOMMAND ...\n\n%s\n\n", prefix, family->help);
    command_list(out, prefix, commands, count);
    fprintf(out, "\n`tenon %sCOMMAND --help` explains one.\n", prefix);
}

int command_family(const command *family, const command *const *commands, uint32_t count, int argc, char **argv)
{
    char prefix[32];

    snprintf(prefix, sizeof prefix, "%s ", family->name);
    if (argc < 1) {
        print_family(stderr, family, prefix, commands, count);
        return EXIT_USAGE;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        print_family(stdout, family, prefix, commands, count);
        return 0;
    }
    return command_dispatch(prefix, commands, count, argv[0], argc - 1, argv + 1);
}
