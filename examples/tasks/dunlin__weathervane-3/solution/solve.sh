#!/bin/bash
set -e
cd /app
sed -i \
  -e 's/^        sock.sendto/        sent = time.monotonic()\n&/' \
  -e 's/^        reply, _ = .*/&\n        delay = (time.monotonic() - sent) \/ 2/' \
  -e 's/ - NTP_EPOCH$/& + delay/' weathervane.py
