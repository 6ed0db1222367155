#!/bin/bash
# Starts Ray on a worker: bash ~/drmn/cluster/worker.sh HEAD [the worker's own address]
# `kill $(cat ~/drmn/ray.pid)` is the notice that the machine is about to go: Ray gives it no more
# work, trials save the part of the epoch that they have done and go on elsewhere, and Ray ends here.
. ~/drmn/cluster/environment.sh
cd ~/drmn
ulimit -n 65536
: > ray.log     # what an earlier Ray said there is not to be taken for this one's word
setsid ray start --block --address="$1:6379" ${2:+--node-ip-address="$2"} > ray.log 2>&1 < /dev/null &
echo $! > ray.pid
for _ in $(seq 120); do
    kill -0 "$(cat ray.pid)" 2> /dev/null || break
    if grep -q "Ray runtime started" ray.log; then
        exit 0
    fi
    sleep 1
done
cat ray.log >&2
exit 1
