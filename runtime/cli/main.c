/* main.c: finds the sub-command. */
#include "cli/command.h"
#include "version.h"

#include <string.h>

static const command *const commands[] = {
    &command_serve,      &command_daemon,        &command_keep,   &command_run,        &command_plan,
    &command_pool,       &command_plugins,       &command_doctor, &command_inspect,    &command_tokenize,
    &command_detokenize, &command_chat_template, &command_logits, &command_perplexity, &command_quantize,
    &command_registry,   &command_group,         &command_token,  &command_service,    &command_up,
    &command_batch,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_usage(FILE *out)
{
    fprintf(out, "tenon %s: serves open-weight language models where your data lives\n\nusage: tenon COMMAND ...\n\n",
            TENON_VERSION);
    command_list(out, "", commands, COMMANDS);
    fprintf(out, "\n`tenon COMMAND --help` explains one.\n");
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
    return command_dispatch("", commands, COMMANDS, argv[1], argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    output_start();
    return output_finish(run(argc, argv));
}
