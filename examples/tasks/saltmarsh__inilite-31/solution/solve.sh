#!/bin/bash
set -e
cd /app
cat > /tmp/fix.patch <<'PATCH'
--- a/ini.c
+++ b/ini.c
@@ -13,7 +13,7 @@
 static void cut_trailing_space(char *text)
 {
     size_t length = strlen(text);
-    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
+    while (length > 0 && isspace((unsigned char)text[length - 1]))
         text[--length] = '\0';
 }
 
@@ -27,7 +27,7 @@
         char *start, *end;
 
         number++;
-        line[strlen(line) - 1] = '\0'; /* the newline */
+        cut_trailing_space(line); /* the line end among it: "\n", "\r\n" or none */
         start = skip_space(line);
         if (*start == '\0' || *start == ';' || *start == '#')
             continue;
@@ -37,7 +37,9 @@
             if (!end)
                 return number;
             *end = '\0';
-            strncpy(section, start + 1, sizeof section);
+            start = skip_space(start + 1);
+            cut_trailing_space(start);
+            snprintf(section, sizeof section, "%s", start);
             continue;
         }
 
PATCH
git apply --unsafe-paths /tmp/fix.patch 2>/dev/null || patch -p1 < /tmp/fix.patch
rm /tmp/fix.patch
make
