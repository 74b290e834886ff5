# Stands in for OpenWrt's rules.mk. OUT is where everything goes.
INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
CP:=cp -fpR

all:
