# Stands in for OpenWrt's include/package.mk: what a package says of itself goes to
# OUT/NAME.info, its scripts beside that, its files below OUT/NAME.
PKG_BUILD_DIR:=$(OUT)/build/$(PKG_NAME)-$(PKG_VERSION)
PKG_INSTALL_DIR:=$(PKG_BUILD_DIR)/ipkg-install

define Build/Prepare
	echo $(PKG_SOURCE_PROTO) $(PKG_SOURCE_URL) $(PKG_SOURCE_VERSION) >$(OUT)/fetched
endef

define BuildPackage
$(eval $(Package/$(1)))
$(file >$(OUT)/$(1).info,$(PKG_VERSION) $(PKG_RELEASE) $(DEPENDS))
$(foreach script,postinst prerm postrm conffiles,$(file >$(OUT)/$(1).$(script),$(Package/$(1)/$(script))))
all: $(1)
.PHONY: $(1)
$(1):
	$$(Build/Prepare)
	$$(Build/Compile)
	$(INSTALL_DIR) $(OUT)/$(1)
	$$(call Package/$(1)/install,$(OUT)/$(1))
endef
