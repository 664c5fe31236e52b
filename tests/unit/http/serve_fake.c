/* serve_fake.c: the HTTP front end over the fake engine as a program, for clients in other languages. Prints its
 * address and serves until standard input ends. Arguments: KEY=VALUE settings of the plugin. */
#include "http_fixture.h"

#include "frontend.h"

#include <unistd.h>

int main(int argc, char **argv)
{
    static http_fixture fixture;
    tn_error err = TN_ERROR_INIT;
    char byte;

    (void)argc;
    if (http_fixture_start(&fixture, (const char *const *)argv + 1, &err) != TN_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    printf("%s\n", http_frontend_table.address(fixture.front));
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    http_fixture_stop(&fixture);
    return 0;
}
