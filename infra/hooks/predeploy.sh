#!/bin/sh
# Before `azd deploy`: refuses a choice that cannot be, before the image is built.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=../../scripts/lib.sh
. "$root/scripts/lib.sh"
# shellcheck source=../../scripts/deployment.sh
. "$root/scripts/deployment.sh"

check_choices
