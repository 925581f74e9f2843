#!/usr/bin/env python3
"""Cuts the power of one mounted ext4 or XFS: what is not on the disk at this moment is lost (EXT4_IOC_SHUTDOWN,
XFS_IOC_GOINGDOWN, without flushing the journal). `umount` and `mount` then do what a boot does.

powercut.py MOUNTPOINT
"""
import fcntl
import os
import struct
import sys

GOING_DOWN = 0x8004587D
NO_LOG_FLUSH = 2
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), GOING_DOWN, struct.pack("I", NO_LOG_FLUSH))
