#!/usr/bin/env bash
# Installs forebay on the hosts of an EMR cluster, as a bootstrap action or by hand. Safe to repeat. It says what it did on
# standard output, one line a step, and ends with the program's own version: a cluster may go on after a script that failed, so look
# at that line.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: bootstrap.sh --url URL --sha256 SUM [OPTION...]

  --url URL         the release's tarball for this processor: an http(s) address, or a file; {arch} in it becomes x86_64
                    or aarch64
  --sha256 SUM      its sum, from SHA256SUMS. With {arch} in the URL: x86_64=SUM,aarch64=SUM
  --role ROLE       where to install: gateway, master (the default) or all. On other hosts nothing is done
  --job FILE        a job file to put into /etc/forebay; its name names the service. May be repeated
  --datasources FILE
                    data sources to put into /etc/forebay, if there are none yet
  --no-start        install, and start nothing
  --root DIR        install below DIR and start nothing (images, tests)

Installs to /opt/forebay/VERSION with a link `current`, and links /usr/bin/forebay to it. No package manager, no network
but the given URL, no secret in any argument.
TEXT
}

say() { printf 'forebay bootstrap: %s\n' "$*"; }
die() { printf 'forebay bootstrap: FAILED: %s\n' "$*" >&2; exit 1; }

URL='' SUM='' ROLE=master START=yes PREFIX='' DATASOURCES='' JOBS=()
while [ $# -gt 0 ]; do
  case $1 in
    --no-start) START=no; shift; continue ;;
    -h | --help) usage; exit 0 ;;
    --url | --sha256 | --role | --job | --datasources | --root) [ $# -ge 2 ] || die "$1 needs a value" ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
  case $1 in
    --url) URL=$2 ;;
    --sha256) SUM=$2 ;;
    --role) ROLE=$2 ;;
    --job) JOBS+=("$2") ;;
    --datasources) DATASOURCES=$2 ;;
    --root) PREFIX=${2%/} START=no ;;
  esac
  shift 2
done
[ -n "$URL" ] || die '--url is missing'
[ -n "$SUM" ] || die '--sha256 is missing: what was not checked is not installed'
for job in ${JOBS[@]+"${JOBS[@]}"}; do [ -r "$job" ] || die "$job cannot be read"; done
[ -z "$DATASOURCES" ] || [ -r "$DATASOURCES" ] || die "$DATASOURCES cannot be read"

# AWS runs bootstrap actions as the user hadoop, who may use sudo without a password; Alibaba Cloud runs them as root.
AS_ROOT=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die 'run it as root'
  AS_ROOT=(sudo -n)
fi
as_root() { ${AS_ROOT[@]+"${AS_ROOT[@]}"} "$@"; }

# --- which host is this? ---------------------------------------------------------------------------------------------

# Alibaba Cloud writes the role into a file, AWS into another; by name, the header hosts are emr-header-N or master-N-M.
host_role() {
  local info=$PREFIX/mnt/var/lib/info/instance.json name
  if [ -r "$info" ]; then
    if grep -Eq '"isMaster"[[:space:]]*:[[:space:]]*true' "$info"; then echo master; else echo worker; fi
    return
  fi
  name=${FOREBAY_HOSTNAME:-$(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)}
  case $name in
    emr-header-* | *-header-* | master-*) echo master ;;
    emr-gateway-* | gateway-* | *-gateway-*) echo gateway ;;
    emr-worker-* | core-* | task-* | *-worker-*) echo worker ;;
    # A host that does not say what it is was chosen by hand.
    *) echo "$ROLE" ;;
  esac
}
case $ROLE in gateway | master | all) ;; *) die "--role is gateway, master or all, not \"$ROLE\"" ;; esac
HOST=$(host_role)
if [ "$ROLE" != all ] && [ "$HOST" != "$ROLE" ]; then
  say "nothing to do: this host is a $HOST, and --role is $ROLE"
  exit 0
fi

# --- fetch and check -------------------------------------------------------------------------------------------------

ARCH=$(uname -m)
case $ARCH in x86_64 | aarch64) ;; *) die "there is no forebay for $ARCH" ;; esac
URL=${URL//'{arch}'/$ARCH}
case $SUM in
  *"$ARCH="*) SUM=${SUM#*"$ARCH="} SUM=${SUM%%,*} ;;
  *=*) die "--sha256 names no sum for $ARCH" ;;
esac
SUM=$(printf '%s' "$SUM" | tr 'A-F' 'a-f')
[[ $SUM =~ ^[0-9a-f]{64}$ ]] || die "--sha256 is no SHA-256 sum: \"$SUM\""

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
fetch() {
  case $URL in
    http://* | https://*)
      if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --retry 5 --retry-delay 2 --output "$WORK/release.tar.gz" "$URL"
      elif command -v wget >/dev/null; then
        wget --quiet --tries=5 --output-document="$WORK/release.tar.gz" "$URL"
      else
        die 'neither curl nor wget is here'
      fi
      ;;
    *) cp "${URL#file://}" "$WORK/release.tar.gz" ;;
  esac
}
# What is installed already, and was made from this tarball, needs no download.
INSTALLED='' CHANGED=no
for stamp in "$PREFIX"/opt/forebay/*/SHA256; do
  if [ ! -L "$(dirname "$stamp")" ] && [ -r "$stamp" ] && [ "$(cat "$stamp")" = "$SUM" ]; then INSTALLED=$(basename "$(dirname "$stamp")"); fi
done
if [ -z "$INSTALLED" ]; then
  fetch || die "cannot fetch $URL"
  GOT=$(sha256sum "$WORK/release.tar.gz" | cut -d ' ' -f 1)
  [ "$GOT" = "$SUM" ] || die "$URL has the sum $GOT, not $SUM; nothing was changed"
  say "fetched $URL, its sum is right"
  mkdir "$WORK/new"
  tar -xzf "$WORK/release.tar.gz" -C "$WORK/new" --strip-components=1 --no-same-owner
  # It has to run here before anything is replaced.
  VERSION=$("$WORK/new/forebay" --version) || die 'the program does not run on this host; nothing was changed'
  VERSION=${VERSION#forebay }
  [[ $VERSION =~ ^[0-9][0-9A-Za-z.+-]*$ ]] || die "the program calls its version \"$VERSION\"; nothing was changed"
  printf '%s\n' "$SUM" >"$WORK/new/SHA256"
  as_root mkdir -p "$PREFIX/opt/forebay"
  as_root rm -rf "$PREFIX/opt/forebay/.new"
  as_root cp -R "$WORK/new" "$PREFIX/opt/forebay/.new"
  as_root chmod -R u=rwX,go=rX "$PREFIX/opt/forebay/.new"
  as_root rm -rf "$PREFIX/opt/forebay/$VERSION"
  as_root mv "$PREFIX/opt/forebay/.new" "$PREFIX/opt/forebay/$VERSION"
  INSTALLED=$VERSION CHANGED=yes
  say "installed /opt/forebay/$VERSION"
else
  say "/opt/forebay/$INSTALLED is installed already"
fi

# --- put in place ----------------------------------------------------------------------------------------------------

# link TARGET PLACE: replaced in one step, so that there is never a moment without.
link() {
  if [ "$(readlink "$PREFIX$2" 2>/dev/null)" = "$1" ]; then return 0; fi
  as_root mkdir -p "$(dirname "$PREFIX$2")"
  as_root ln -sfn "$1" "$PREFIX$2.new"
  as_root mv -T "$PREFIX$2.new" "$PREFIX$2"
}
link "$INSTALLED" /opt/forebay/current
link /opt/forebay/current/forebay /usr/bin/forebay

# The hardened unit wants systemd 247; older ones would read past what they do not know, and start it without its secrets.
SYSTEMD=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p' || true)
UNIT=/opt/forebay/current/systemd/plain/forebay@.service
if [ "${SYSTEMD:-0}" -ge 247 ]; then UNIT=/opt/forebay/current/systemd/forebay@.service; fi
as_root mkdir -p "$PREFIX/etc/systemd/system" "$PREFIX/etc/forebay"
FROM=$PREFIX/opt/forebay/$INSTALLED/${UNIT#/opt/forebay/current/}
if ! cmp -s "$FROM" "$PREFIX/etc/systemd/system/forebay@.service"; then
  as_root cp "$FROM" "$PREFIX/etc/systemd/system/forebay@.service"
  CHANGED=yes
fi
if [ "${SYSTEMD:-0}" -lt 247 ] && [ -z "$PREFIX" ] && ! id forebay >/dev/null 2>&1; then
  as_root useradd --system --no-create-home --shell /sbin/nologin forebay
  say 'made the user forebay'
fi

# put FILE NAME MODE: into /etc/forebay, unless it is there already as it is; what was changed by hand is kept.
put() {
  local place=$PREFIX/etc/forebay/$2
  if [ -e "$place" ]; then
    as_root cmp -s "$1" "$place" || say "kept /etc/forebay/$2, which differs from $1"
    return 0
  fi
  as_root cp "$1" "$place"
  as_root chmod "$3" "$place"
  say "wrote /etc/forebay/$2"
}
if [ -n "$DATASOURCES" ]; then
  put "$DATASOURCES" datasources.toml 0600
  if [ "${SYSTEMD:-0}" -lt 247 ] && id forebay >/dev/null 2>&1; then
    as_root chgrp forebay "$PREFIX/etc/forebay/datasources.toml"
    as_root chmod 0640 "$PREFIX/etc/forebay/datasources.toml"
  fi
fi
for job in ${JOBS[@]+"${JOBS[@]}"}; do put "$job" "$(basename "$job" .toml).toml" 0644; done

# --- start -----------------------------------------------------------------------------------------------------------

if [ "$START" = yes ] && command -v systemctl >/dev/null; then
  [ "$CHANGED" = no ] || as_root systemctl daemon-reload
  for job in ${JOBS[@]+"${JOBS[@]}"}; do
    service=forebay@$(basename "$job" .toml)
    as_root systemctl enable "$service"
    # Kafka may not be up yet while a cluster is made; the agent waits for its brokers, so nothing waits for the agent.
    if [ "$CHANGED" = yes ]; then
      as_root systemctl --no-block restart "$service"
    else
      as_root systemctl --no-block start "$service"
    fi
    say "started $service"
  done
fi
say "done: $("$PREFIX/opt/forebay/current/forebay" --version)"
