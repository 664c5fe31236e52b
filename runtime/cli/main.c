/* main.c: finds the sub-command. */
#include "cli/command.h"
#include "version.h"

#include <string.h>

#include "base/edit_distance.h"

static const command *const commands[] = {
    &command_serve,  &command_run,        &command_plan,     &command_pool,       &command_plugins,
    &command_doctor, &command_inspect,    &command_tokenize, &command_detokenize, &command_chat_template,
    &command_logits, &command_perplexity, &command_quantize,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_usage(FILE *out)
{
    fprintf(out, "tenon %s: serves open-weight language models where your data lives\n\nusage: tenon COMMAND ...\n\n",
            TENON_VERSION);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-14s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n`tenon COMMAND --help` explains one.\n");
}

static int refuse(const char *name)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++)
        names[i] = commands[i]->name;
    const char *nearest = nearest_name(name, names, COMMANDS);

    fprintf(stderr, "tenon: there is no command '%s'", name);
    if (nearest)
        fprintf(stderr, "; did you mean '%s'?", nearest);
    fprintf(stderr, " (`tenon --help` lists them)\n");
    return EXIT_USAGE;
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        printf("tenon %s (ABI %d.%d, draft tables %s)\n", TENON_VERSION, TN_ABI_MAJOR, TN_ABI_MINOR, TN_DRAFT_HASH);
        return 0;
    }
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return commands[i]->run(commands[i], argc - 2, argv + 2);
    return refuse(argv[1]);
}

int main(int argc, char **argv)
{
    output_start();
    return output_finish(run(argc, argv));
}
