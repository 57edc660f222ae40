#ifndef INI_H
#define INI_H

#include <stdio.h>

#define INI_MAX_LINE 512
#define INI_MAX_SECTION 32

/* Called for each key of the file. The strings live until the call returns. */
typedef void (*ini_handler)(void *user, const char *section, const char *key,
                            const char *value);

/* Reads an INI file. Lines that start with ';' or '#' are comments; space
 * around sections, keys and values is dropped. Returns 0, or the number of the
 * first line that is neither a section nor a key. */
int ini_read(FILE *file, ini_handler handler, void *user);

#endif
