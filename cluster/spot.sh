#!/bin/bash
# On AWS: two minutes before a spot instance is taken away its metadata say so, which it is told here.
metadata=${DRMN_METADATA:-http://169.254.169.254/latest}
going() {
    token=$(curl -fs -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token") &&
        curl -fs -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/spot/instance-action"
}
(
    while kill -0 "$(cat ~/drmn/ray.pid)" 2> /dev/null; do
        if going > /dev/null; then
            kill "$(cat ~/drmn/ray.pid)"
            break
        fi
        sleep 5
    done
) > /dev/null 2>&1 < /dev/null &
