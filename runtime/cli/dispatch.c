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
