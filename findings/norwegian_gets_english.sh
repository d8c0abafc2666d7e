#!/usr/bin/env bash
# Question: an application has English and Norwegian Bokmål (nb). A browser prefers `no`, or the application calls its catalogue `no` and a
#   browser sends `nb-NO`. Which language does Babel choose?
# Guess: Norwegian: `no` is the macrolanguage of `nb`, and Babel knows CLDR's aliases.
# What happens: negotiate_locale compares texts and knows aliases for a dozen languages, none between `no` and `nb`: the first choice
#   is passed over, and the user gets English, or nothing. Locale.parse('no') itself works.
# Versions: Babel 2.19.0. Seen: None, None, 'nb' (nb-NO with a catalogue nb), 'en' (no-NO, then English).
source "$(dirname "$0")/lab.sh"
lab babel==2.19.0
"$LAB/bin/python" - <<'PY'
import babel
from babel import Locale, negotiate_locale

print("Babel", babel.__version__, "Locale.parse('no'):", Locale.parse("no").english_name)
seen = [
    negotiate_locale(["no"], ["en", "nb"]),
    negotiate_locale(["nb-NO"], ["en", "no"], sep="-"),
    negotiate_locale(["nb-NO", "en"], ["en", "nb"], sep="-"),
    negotiate_locale(["no-NO", "en"], ["en", "nb"], sep="-"),
]
print(seen)
assert seen == [None, None, "nb", "en"], seen
PY
