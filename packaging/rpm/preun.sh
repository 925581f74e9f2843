#!/bin/sh
# 0: the package is removed, not upgraded; an upgrade leaves a run alone
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now exporter.timer exporter.service || :
fi
