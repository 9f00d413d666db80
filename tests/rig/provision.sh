#!/usr/bin/env bash
# Install the Debian packages that the tests' real parts come from, where that may be done (root, apt-get): all of
# them, or those named as arguments.
#
# Does nothing when all are there. Never starts their services: the tests run servers of their own. Always exits 0:
# what cannot be had is said here in one line, and the test run says which tests could not run.
set -u

declare -A command_of=(
  [busybox-static]=busybox
  [chromium]=chromium
  [curl]=curl
  [docker-compose]=docker-compose
  [docker.io]=dockerd
  [etcd-server]=etcd
  [faketime]=faketime
  [haproxy]=haproxy
  [iproute2]=ip
  [nginx-light]=nginx
  [nodejs]=node
  [prometheus]=promtool
  [systemd]=systemd-analyze
  [wrk]=wrk
)
# System programs may be off an ordinary user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

wanted=("$@")
[ $# -gt 0 ] || wanted=("${!command_of[@]}")
missing=()
for package in "${wanted[@]}"; do
  command -v "${command_of[$package]}" >/dev/null || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "provision: not installed, for want of root or apt-get: ${missing[*]}" >&2
  exit 0
fi

# invoke-rc.d asks this file whether a service may be started; an existing policy is somebody's and stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi

log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get --quiet --yes -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
echo "provision: installing ${missing[*]}"
# An update may fail for one source of several; the installation decides.
timeout 120 "${apt[@]}" update >"$log" 2>&1 || true
if ! timeout 300 "${apt[@]}" install --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
  # One that cannot be had must not keep the others away.
  for package in "${missing[@]}"; do
    timeout 180 "${apt[@]}" install --no-install-recommends "$package" >>"$log" 2>&1 ||
      echo "provision: $package cannot be installed: $(grep '^E:' "$log" | tail -n 1)" >&2
  done
fi
rm -f "$log"
exit 0
