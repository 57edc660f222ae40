#include "ini.h"

#include <ctype.h>
#include <string.h>

static char *skip_space(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    return text;
}

static void cut_trailing_space(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        text[--length] = '\0';
}

int ini_read(FILE *file, ini_handler handler, void *user)
{
    char line[INI_MAX_LINE];
    char section[INI_MAX_SECTION] = "";
    int number = 0;

    while (fgets(line, sizeof line, file)) {
        char *start, *end;

        number++;
        line[strlen(line) - 1] = '\0'; /* the newline */
        start = skip_space(line);
        if (*start == '\0' || *start == ';' || *start == '#')
            continue;

        if (*start == '[') {
            end = strchr(start, ']');
            if (!end)
                return number;
            *end = '\0';
            strncpy(section, start + 1, sizeof section);
            continue;
        }

        end = strchr(start, '=');
        if (!end)
            return number;
        *end = '\0';
        cut_trailing_space(start);
        end = skip_space(end + 1);
        cut_trailing_space(end);
        handler(user, section, start, end);
    }
    return 0;
}
