# Stands in for golang-package.mk of OpenWrt's packages feed. FETCHED says that the
# sources are only noted, not there.
GO_ARCH_DEPENDS:=@(aarch64||arm||mips||mipsel||x86_64)

define Build/Compile
	$(if $(FETCHED),touch $(OUT)/routerd.bin,cd $(PKG_BUILD_DIR) && CGO_ENABLED=0 go build -o $(OUT)/routerd.bin $(GO_PKG_BUILD_PKG))
endef

define GoPackage/Package/Install/Bin
	$(INSTALL_DIR) $(1)/usr/bin
	$(INSTALL_BIN) $(OUT)/routerd.bin $(1)/usr/bin/routerd
endef

define GoBinPackage
endef
