#!/usr/bin/env bash
# Local stand-ins for the two public base images, under their public names, for machines whose Docker can pull nothing; with `nats` as its
# argument for the NATS of deploy/compose.cluster.yml, too.
# What the public images promise and the shipped files rely on is kept: Python 3.11 and pip as /usr/local/bin/python3, Mosquitto 2 with
# its user (uid and gid 1883), its paths, its entry point and its command; nats-server as the entry point, and a wget beside it. Debian
# bookworm is under all of them here. Needs root and mmdebstrap.
set -euo pipefail

PYTHON=python:3.11-slim-bookworm
MOSQUITTO=eclipse-mosquitto:2
NATS=nats:2-alpine
wanted=("$PYTHON" "$MOSQUITTO")
[ "${1:-}" != nats ] || wanted+=("$NATS")

present() { docker image inspect "$1" >/dev/null 2>&1; }
pulled() { timeout 120 docker pull --quiet "$1" >/dev/null 2>&1; }

needed=()
for image in "${wanted[@]}"; do
  present "$image" || pulled "$image" || needed+=("$image")
done
[ "${#needed[@]}" -gt 0 ] || exit 0
command -v mmdebstrap >/dev/null || { echo "the base images cannot be pulled, and mmdebstrap is not installed" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "the base images cannot be pulled, and only root can build stand-ins" >&2; exit 1; }

work=$(mktemp -d)
cache=${HUSHGRID_CACHE:-$(dirname "$0")/../../.cache}
mkdir -p "$cache"
trap 'rm -rf "$work"' EXIT

# debian FILE PACKAGES HOOK: a minimal Debian with these packages as a tar file. Documentation is of no use in a container.
# What it is made of is fetched once: the file is kept under the hash of what was asked for.
debian() {
  local kept
  kept=$cache/base-$(printf '%s\n' "$2" "${3//$work/}" | cat - "${4:-/dev/null}" | sha256sum | cut -c1-16).tar
  if [ ! -f "$kept" ]; then
    made "$1" "$2" "$3"
    cp "$1" "$kept.$$" && mv "$kept.$$" "$kept"
  fi
  ln -sf "$(realpath "$kept")" "$1"
}

made() {
  mmdebstrap --quiet --variant=minbase --include="$2" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="$3" bookworm "$1"
}

stand_in_python() {
  # The public image's pip is no Debian package: nothing tells it to keep its hands off.
  debian "$work/python.tar" python3,python3-pip,ca-certificates '
    ln -s /usr/bin/python3 "$1/usr/local/bin/python3"; ln -s /usr/bin/python3 "$1/usr/local/bin/python"
    ln -s /usr/bin/pip3 "$1/usr/local/bin/pip"; rm -f "$1"/usr/lib/python3.11/EXTERNALLY-MANAGED'
  docker import \
    --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' \
    --change 'LABEL hushgrid.stand-in=python' "$work/python.tar" "$PYTHON" >/dev/null
}

stand_in_mosquitto() {
  cat >"$work/docker-entrypoint.sh" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$(id -u)" = 0 ] && [ -d /mosquitto ]; then chown -R mosquitto:mosquitto /mosquitto || true; fi
exec "$@"
SCRIPT
  chmod +x "$work/docker-entrypoint.sh"
  debian "$work/mosquitto.tar" mosquitto,mosquitto-clients '
    chroot "$1" groupmod --gid 1883 mosquitto; chroot "$1" usermod --uid 1883 --gid 1883 mosquitto
    install -d -o 1883 -g 1883 "$1/mosquitto" "$1/mosquitto/config" "$1/mosquitto/data" "$1/mosquitto/log"
    cp '"$work"'/docker-entrypoint.sh "$1/docker-entrypoint.sh"; : >"$1/mosquitto/config/mosquitto.conf"' \
    "$work/docker-entrypoint.sh"
  docker import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'VOLUME ["/mosquitto/data", "/mosquitto/log"]' --change 'EXPOSE 1883' \
    --change 'ENTRYPOINT ["/docker-entrypoint.sh"]' \
    --change 'CMD ["/usr/sbin/mosquitto", "-c", "/mosquitto/config/mosquitto.conf"]' \
    --change 'LABEL hushgrid.stand-in=mosquitto' "$work/mosquitto.tar" "$MOSQUITTO" >/dev/null
}

stand_in_nats() {
  debian "$work/nats.tar" nats-server,wget true
  docker import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'EXPOSE 4222 6222 8222' --change 'ENTRYPOINT ["nats-server"]' \
    --change 'CMD ["--config", "/etc/nats/nats-server.conf"]' \
    --change 'LABEL hushgrid.stand-in=nats' "$work/nats.tar" "$NATS" >/dev/null
}

building=()
for image in "${needed[@]}"; do
  echo "building a stand-in for $image"
  case "$image" in
    "$PYTHON") stand_in_python & building+=($!) ;;
    "$MOSQUITTO") stand_in_mosquitto & building+=($!) ;;
    "$NATS") stand_in_nats & building+=($!) ;;
  esac
done
for process in "${building[@]}"; do wait "$process"; done
