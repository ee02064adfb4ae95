#!/bin/sh
# Installs the units, the user and the folders; as root, from a folder with the
# binary:  deploy/systemd/install.sh ./optsweep
# It starts nothing and overwrites no job file and no secret. DESTDIR is for packages.
set -eu
binary=${1:?say where the binary is: install.sh ./optsweep}
here=$(cd "$(dirname "$0")" && pwd)
dest=${DESTDIR:-}
install -D -m 0755 "$binary" "$dest/usr/local/bin/optsweep"
for unit in optsweep@.service optsweep@.timer optsweep-schedule.service; do
  install -D -m 0644 "$here/$unit" "$dest/etc/systemd/system/$unit"
done
install -D -m 0644 "$here/optsweep.sysusers" "$dest/usr/lib/sysusers.d/optsweep.conf"
install -d -m 0755 "$dest/etc/optsweep"
install -d -m 0700 "$dest/etc/optsweep/secrets"
if [ -z "$dest" ]; then
  systemd-sysusers optsweep.conf
  install -d -m 0700 -o optsweep -g optsweep /var/lib/optsweep
  systemctl daemon-reload
fi
cat <<'TEXT'
next, for a job named crm:
  put /etc/optsweep/crm.yaml there, with  workspace: /var/lib/optsweep/crm
  put api_key and client_secret into /etc/optsweep/secrets/crm/ (mode 0600)
  runuser -u optsweep -- optsweep validate --config /etc/optsweep/crm.yaml
  runuser -u optsweep -- optsweep init --config /etc/optsweep/crm.yaml
  systemctl start optsweep@crm && systemctl enable --now optsweep@crm.timer
TEXT
