#!/bin/sh
systemd-sysusers exporter.conf || :
systemd-tmpfiles --create exporter.conf || :
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
