# What scripts need of the system: need COMMAND PACKAGE... installs Debian packages when the command is not there.
install() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "install what is missing: $*" >&2
    exit 3
  fi
  echo "installing $*" >&2
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}
need() {
  local command=$1; shift
  command -v "$command" >/dev/null || install "$@"
}
