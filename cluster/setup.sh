#!/bin/bash
# Sets a machine of the cluster up: bash ~/drmn/cluster/setup.sh FOLDER
# FOLDER is on storage that all machines share, at the same path on each: data and results are there.
set -e
cd ~/drmn
mkdir -p "$1/data" "$1/results"
ln -sfn "$1" shared
ln -sfn shared/data data
ln -sfn shared/results results
chmod 600 ~/.ray/auth_token
for file in ~/.bashrc ~/.profile; do
    grep -qs drmn/cluster/environment.sh "$file" || echo '. ~/drmn/cluster/environment.sh' >> "$file"
done
make setup
