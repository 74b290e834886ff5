#!/bin/sh
# Stands in for the part of OpenWrt's /lib/functions.sh that services use.
# shellcheck disable=SC2034 # others read CONFIG and the variables they name
#
# shellcheck shell=dash

config_load() { CONFIG=$1; }

# config_get VARIABLE SECTION OPTION [DEFAULT]
config_get() {
	eval "$1=\$(uci -q get \"\$CONFIG.\$2.\$3\")"
	eval "[ -n \"\$$1\" ] || $1=\$4"
}

# config_list_foreach SECTION LIST FUNCTION
config_list_foreach() {
	local value

	for value in $(uci -q get "$CONFIG.$1.$2"); do "$3" "$value"; done
}
