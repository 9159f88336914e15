#!/bin/sh
# gtftd: the prime of a session, format 1. Prints the short prime for agents whose model is one of ours, else gt's own.
#
#   <state>/hooks/gtftd-prime gt prime --hook      from SessionStart and PreCompact of gt's settings; JSON on stdin
#
# Promises: it either prints a short prime that is whole, or it is "$@", with the same input; in every doubt the latter.
# An agent of another model costs no process: only shell builtins run before `exec`.

if [ $# -eq 0 ]; then set -- gt prime --hook; fi
case $0 in */hooks/gtftd-prime) state=${0%/hooks/*} ;; *) exec "$@" ;; esac

set -f
python= town= config= ours=
if [ -r "$state/hooks/prime.conf" ]; then
	while IFS= read -r line; do
		case $line in
		python=*) python=${line#*=} ;;
		town=*) town=${line#*=} ;;
		config=*) config=${line#*=} ;;
		agent=*) case $GT_AGENT in ${line#*=}) ours=yes ;; esac ;;
		esac
	done <"$state/hooks/prime.conf"
fi
# Without GT_AGENT the town's settings say who it is; that takes more than a shell.
if [ -z "$GT_AGENT" ] && [ -n "$GT_ROLE" ]; then ours=perhaps; fi
if [ -z "$ours" ] || [ ! -x "$python" ] || [ -t 0 ] || ! command -v timeout >/dev/null; then exec "$@"; fi

# The x keeps line breaks at the end. Whoever leaves our input open gets what came within a second, as gt reads a line.
input=$(timeout 1 cat; echo x)
input=${input%x}
if text=$(
	printf '%s' "$input" |
		timeout -k 0.2 2 "$python" -E -P -m gtftd.ctl.prime_fast --state-dir "$state" \
			${town:+--town "$town"} ${config:+--config "$config"} -- "$@" 2>/dev/null
) && [ -n "$text" ]; then
	printf '%s\n' "$text"
	exit 0
fi
printf '%s' "$input" | "$@"
