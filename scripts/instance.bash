# shellcheck shell=bash
# What with-postgres and with-redis share; they read it in. It lets a command run with a private server beside it.
#
# The script that reads it starts the server in $folder and defines stop_server.

name=$(basename "$0")
if [ $# -eq 0 ]; then
  echo "usage: scripts/$name COMMAND [ARGUMENT...]" >&2
  exit 2
fi

# must_be_installable ADVICE: the end with this advice, unless Debian's packages can be installed here.
must_be_installable() {
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "$name: $1" >&2
    exit 1
  fi
}

# free_port: a number that is tried as a port, below those that the system gives to clients.
free_port() { echo $((20000 + RANDOM % 12000)); }

child=""
# The command ends first: what it does in its last moments still finds its server.
# shellcheck disable=SC2317 # called by the trap
clean_up() {
  trap '' INT TERM HUP
  if [ -n "$child" ]; then
    kill "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  stop_server
  rm -rf "$folder"
}

folder=$(mktemp -d "${TMPDIR:-/tmp}/relay-${name#with-}.XXXXXX")
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# run COMMAND [ARGUMENT...]: runs it to its end, and ends as it has ended.
run() {
  "$@" <&0 &
  child=$!
  local status=0
  wait "$child" || status=$?
  child=""
  exit "$status"
}
