#!/bin/bash
# Writes 1 when every hidden check passes on /app, else 0.
mkdir -p /logs/verifier
echo 0 > /logs/verifier/reward.txt
work=$(mktemp -d) || exit 0
trap 'rm -rf "$work"' EXIT

# Built from the sources, beside the agent's tree: what it left of old objects does not count.
cc -O1 -g -I/app -o "$work/inidump" /app/main.c /app/ini.c || exit 0

failed=0
check() { # name, content of the file, expected output; both with backslash escapes
  printf '%b' "$2" > "$work/in.ini"
  if "$work/inidump" "$work/in.ini" > "$work/out" 2>&1 && printf '%b' "$3" | cmp - "$work/out"; then
    echo "ok   $1"
  else
    echo "FAIL $1"
    failed=1
  fi
}

name31=$(printf 'n%.0s' {1..31})
check 'no newline at the end' '[server]\nport=8080' 'server.port=8080\n'
check 'empty last value' 'a=1\n\nb=' 'a=1\nb=\n'
check 'CRLF' '[s]\r\na=1\r\n\r\nb = x y \r\n; c\r\n' 's.a=1\ns.b=x y\n'
check 'CRLF without a last one' 'a=1\r\nb=2' 'a=1\nb=2\n'
check 'section of 31' "[$name31]\na=1\n" "$name31.a=1\n"
check 'section of 32' "[${name31}X]\na=1\n" "$name31.a=1\n"
check 'section of 65' "[${name31}XYZ$name31]\na=1\n[b]\nc=2\n" "$name31.a=1\nb.c=2\n"
check 'space in brackets' '[ server ]\nport = 1\n' 'server.port=1\n'
check 'as before' '# c\n  k = v  \n[t]\nu==\n' 'k=v\nt.u==\n'

printf 'a=1\nnonsense\n' > "$work/bad.ini"
"$work/inidump" "$work/bad.ini" > /dev/null 2> "$work/err"
if [ $? -ne 1 ] || ! grep -q ':2: not understood' "$work/err"; then
  echo 'FAIL a line that is nothing'
  failed=1
fi

if [ "$failed" -eq 0 ]; then
  echo 1 > /logs/verifier/reward.txt
fi
exit 0
