#include "ini.h"

static void print_entry(void *user, const char *section, const char *key,
                        const char *value)
{
    (void)user;
    if (*section)
        printf("%s.%s=%s\n", section, key, value);
    else
        printf("%s=%s\n", key, value);
}

int main(int argc, char **argv)
{
    FILE *file;
    int line;

    if (argc != 2) {
        fprintf(stderr, "usage: inidump FILE\n");
        return 2;
    }
    file = fopen(argv[1], "r");
    if (!file) {
        perror(argv[1]);
        return 2;
    }
    line = ini_read(file, print_entry, NULL);
    fclose(file);
    if (line) {
        fprintf(stderr, "%s:%d: not understood\n", argv[1], line);
        return 1;
    }
    return 0;
}
