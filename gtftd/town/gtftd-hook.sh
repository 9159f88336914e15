#!/bin/sh
# gtftd's hook, format 1: writes one durable file into a spool and goes. Works with the daemon down.
#
#   <state>/hooks/gtftd-hook claude               Claude Code's SessionStart, Stop, SessionEnd; JSON on stdin
#   <state>/hooks/gtftd-hook bead ID EVENT        a beads hook; stdin is left alone
#
# Promises: exit 0 whatever happens, no output, no waiting but for the end of stdin and for the disk.
# What arrives here may be hostile: nothing is evaluated, every expansion is quoted or split on purpose.
# Each command that is no shell builtin costs about a millisecond: head, ln, sync, mv are all of them.

[ "$1" = bead ] || [ -n "$GT_ROLE" ] || exit 0
exec >/dev/null 2>&1
set -f -C
umask 077
PATH=/usr/bin:/bin:$PATH
LC_ALL=C
export PATH LC_ALL
nl='
'
blank=' 	'$nl
fields=

# A named point where a test may kill us.
at() {
	if [ "$GTFTD_CRASH_AT" = "$1" ]; then kill -9 $$; fi
}

# put KEY VALUE: one line of the head; line breaks in the value become spaces, more than 4096 bytes are left out.
put() {
	if [ -z "$2" ] || [ ${#2} -gt 4096 ]; then return; fi
	case $2 in
	*"$nl"*)
		key=$1
		IFS=$nl
		set -- $2
		IFS=' '
		fields=$fields$key=$*$nl
		IFS=$blank
		;;
	*) fields=$fields$1=$2$nl ;;
	esac
}

# Find "key":"value" in Claude's payload; the first of each name counts. No JSON parser: only the link and the
# git head depend on it, and the daemon reads the payload properly.
look_into_payload() {
	last=
	name=
	IFS='"'
	for part in $payload; do
		case $name in
		'') case $part in : | ': ' | ' : ') name=$last ;; esac ;;
		session_id) session=${session:-$part} name= ;;
		transcript_path) transcript=${transcript:-$part} name= ;;
		hook_event_name) event=${event:-$part} name= ;;
		*) name= ;;
		esac
		if [ -n "$session" ] && [ -n "$transcript" ] && [ -n "$event" ]; then break; fi
		last=$part
	done
	IFS=$blank
}

# Keep the transcript by a second name: Claude Code may delete it before the daemon reads it.
link_transcript() {
	case $session in '' | .* | *[!A-Za-z0-9._-]*) return ;; esac
	case $transcript in *\\*) return ;; /*.jsonl) ;; *) return ;; esac
	link=$spool/transcripts/$session.jsonl
	if [ ! -f "$transcript" ] || [ -h "$transcript" ] || [ "$transcript" -ef "$link" ]; then return; fi
	if ln -f "$transcript" "$link"; then linked=$spool/transcripts; fi
}

is_hash() {
	case $1 in *[!0-9a-f]*) return 1 ;; esac
	[ ${#1} -eq 40 ] || [ ${#1} -eq 64 ]
}

# The commit that is checked out here, from git's own files. A ref that is only in packed-refs is left to the daemon.
put_git_head() {
	top=$PWD
	until [ -e "$top/.git" ]; do
		case $top in /*/*) top=${top%/*} ;; *) return ;; esac
	done
	git=$top/.git
	if [ -f "$git" ]; then
		read -r word value <"$git"
		if [ "$word" != gitdir: ]; then return; fi
		case $value in /*) git=$value ;; *) git=$top/$value ;; esac
	fi
	if [ ! -f "$git/HEAD" ]; then return; fi
	read -r word ref <"$git/HEAD"
	if is_hash "$word"; then
		put GIT_HEAD "$word"
		return
	fi
	case $ref in *..*) return ;; refs/*) ;; *) return ;; esac
	common=$git
	if [ -f "$git/commondir" ]; then
		read -r value <"$git/commondir"
		case $value in /*) common=$value ;; *) common=$git/$value ;; esac
	fi
	for place in "$git" "$common"; do
		if [ -f "$place/$ref" ]; then
			read -r word value <"$place/$ref"
			if is_hash "$word"; then put GIT_HEAD "$word"; fi
			return
		fi
	done
	put GIT_REF "$ref"
	put GIT_COMMON_DIR "$common"
}

put_session() {
	put GT_ROLE "$GT_ROLE"
	put GT_RIG "$GT_RIG"
	put GT_ROOT "$GT_ROOT"
	put GT_RUN "$GT_RUN"
	put GT_AGENT "$GT_AGENT"
	put GT_SESSION "$GT_SESSION"
	put GT_POLECAT "$GT_POLECAT"
	put GT_CREW "$GT_CREW"
	put GT_DOG_NAME "$GT_DOG_NAME"
	put GT_WORK_BEAD "$GT_WORK_BEAD"
	put GT_WORK_MOL "$GT_WORK_MOL"
	put BD_ACTOR "$BD_ACTOR"
	put CLAUDE_CONFIG_DIR "$CLAUDE_CONFIG_DIR"
	put CWD "$PWD"
}

write_file() {
	printf 'gtftd-hook 1 %s %s\n%s\n%s\n# end %s\n' "$kind" "$file" "$fields" "$payload" "$file" >"$spool/tmp/$file"
}

case $0 in */hooks/*) state=${0%/hooks/*} ;; *) exit 0 ;; esac
spool=$state/spool
kind=$1
payload= session= transcript= event= linked= unique= town=
at hook.start

case $kind in
claude)
	# Another town's agent may share this user's settings; its own daemon spools it.
	if [ -n "$GT_ROOT" ] && [ -f "$state/hooks/town" ]; then
		IFS= read -r town <"$state/hooks/town"
		if [ -d "$town" ] && ! [ "$GT_ROOT" -ef "$town" ]; then exit 0; fi
	fi
	if [ -t 0 ]; then exit 0; fi
	payload=$(head -c 1048576)
	if [ -z "$payload" ]; then exit 0; fi
	look_into_payload
	link_transcript
	at hook.linked
	put_session
	if [ "$event" = SessionStart ]; then put_git_head; fi
	;;
bead)
	put ARG "$2"
	put ARG "$3"
	put BD_ACTOR "$BD_ACTOR"
	put GT_ROLE "$GT_ROLE"
	put CWD "$PWD"
	;;
*) exit 0 ;;
esac

# No file of this name can exist: the kernel's random id, or else a process id that we alone have now.
read -r unique </proc/sys/kernel/random/uuid
file=$kind-${unique:-0}-$$
while [ -e "$spool/tmp/$file" ] || [ -e "$spool/new/$file" ]; do file=$file.1; done

if ! write_file; then
	if [ -d "$spool/tmp" ] || ! mkdir -p "$spool/tmp" "$spool/new" "$spool/transcripts" || ! write_file; then
		rm -f "$spool/tmp/$file"
		exit 0
	fi
fi
at hook.written
# Only then the rename: whatever a power cut leaves, in tmp/ or in new/, is whole.
sync "$spool/tmp/$file" "$spool/tmp" ${linked:+"$linked"}
at hook.synced
mv "$spool/tmp/$file" "$spool/new/$file"
at hook.renamed
exit 0
