#!/usr/bin/env bash
# Question: an env file has SECRET='ab${cd}ef'. What does a program that reads it with python-dotenv get, and what does a shell get?
# Guess: the same nine characters: single quotes are literal.
# What happens: python-dotenv expands ${…} inside single quotes too; the unknown name becomes nothing, and the secret is abef.
#   A lone $ stays. interpolate=False gives the text. Compose and shells keep single-quoted values as they are.
# Versions: python-dotenv 1.2.4. Seen: shell 'ab${cd}ef', dotenv_values 'abef', with interpolate=False 'ab${cd}ef'.
source "$(dirname "$0")/lab.sh"
lab python-dotenv==1.2.4
printf '%s\n' "SECRET='ab\${cd}ef'" "LONE='a\$b'" >"$LAB/file.env"
shell=$(set +u; . "$LAB/file.env"; printf %s "$SECRET")
"$LAB/bin/python" - "$LAB/file.env" "$shell" <<'PY'
import sys

from dotenv import dotenv_values

path, shell = sys.argv[1:]
read, plain = dotenv_values(path), dotenv_values(path, interpolate=False)
print("shell:", shell, "dotenv:", read["SECRET"], "interpolate=False:", plain["SECRET"])
assert shell == plain["SECRET"] == "ab${cd}ef"
assert read["SECRET"] == "abef"
assert read["LONE"] == "a$b"
PY
