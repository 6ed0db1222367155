#!/bin/bash
# On a worker of own machines: once its Ray has ended, ends what is left of it. `ray down` ends the
# head alone; a worker ends a minute after it lost the head, but for its log monitor (Ray 2.60).
raylet=$(pgrep -n -u "$(id -u)" -x raylet)
monitor=$(pgrep -n -u "$(id -u)" -f ray/_private/log_monitor.py)
setsid bash -c "while kill -0 $raylet; do sleep 1; done; kill $monitor" > /dev/null 2>&1 < /dev/null &
