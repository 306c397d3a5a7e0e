#!/bin/sh
# Print the path of a Python that is new enough, or say what to do. $PYTHON goes first when set.
set -u

for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    found=$(command -v "$name" 2>/dev/null) || continue
    if "$found" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        printf '%s\n' "$found"
        exit 0
    fi
done

seen=$(python3 --version 2>&1) || seen="no python3 on PATH"
cat >&2 <<END
tollspan needs Python 3.11 or newer; found: $seen.
  Debian, Ubuntu:  apt-get install python3 python3-venv
  elsewhere:       install Python 3.11+, or name one: make PYTHON=/path/to/python3.12 ...
END
exit 1
