#!/bin/sh
# After `azd deploy`: says how to attach the lake.
set -eu
exec "$(dirname "$0")/../../scripts/show-connection-info.sh"
