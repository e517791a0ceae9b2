#!/bin/sh
# Installs the meter agent on a Raspberry Pi with 64-bit Raspberry Pi OS or Debian: ./install.sh [hushgrid-meter_..._arm64.deb]
# Without a package it builds one from this checkout, which needs a network. Run again to update: keys, readings and
# configuration stay.
set -eu

fail() {
    echo "install.sh: $*" >&2
    exit 2
}

[ "$(id -u)" = 0 ] || fail "run it with sudo"
command -v dpkg >/dev/null || fail "this is no Debian"
arch=$(dpkg --print-architecture)
case $arch in
    arm64 | amd64) ;;
    *) fail "$arch is not supported: install the 64-bit Raspberry Pi OS" ;;
esac

package=${1:-}
if [ -z "$package" ]; then
    here=$(cd "$(dirname "$0")/../.." && pwd)
    python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "python3 is missing"
    apt-get install -y --no-install-recommends make python3-venv >/dev/null
    make -s -C "$here" deb ARCH="$arch" TARGET_PYTHON="$python" >/dev/null
    package=$(ls -t "$here"/dist/hushgrid-meter_*_"$arch".deb | head -n 1)
fi
[ -f "$package" ] || fail "$package: no such file"
case $package in /*) ;; *) package=$PWD/$package ;; esac
apt-get install -y --reinstall --no-install-recommends "$package"

if [ ! -e /etc/hushgrid/meter.toml ]; then
    hushgrid-meter check --config /etc/hushgrid/meter.toml 2>/dev/null || true
    echo
    echo "A commented configuration is in /etc/hushgrid/meter.toml. Fill it in, put the one-time token into"
    echo "/etc/hushgrid/meter.token, then:"
    echo
fi
echo "    sudo hushgrid-meter check --config /etc/hushgrid/meter.toml"
echo "    sudo systemctl restart hushgrid-meter"
echo "    journalctl -fu hushgrid-meter"
