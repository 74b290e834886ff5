# Stands in for LuCI's luci.mk: a package of htdocs and root, and one for each
# language, whose texts are only named.
include $(INCLUDE_DIR)/package.mk

LUCI_BASENAME:=$(patsubst luci-app-%,%,$(PKG_NAME))
LUCI_LANGUAGES:=$(filter-out templates,$(notdir $(wildcard $(CURDIR)/po/*)))

Build/Prepare:=
Build/Compile:=

define Package/$(PKG_NAME)
  TITLE:=$(LUCI_TITLE)
  DEPENDS:=$(LUCI_DEPENDS)
endef

define Package/$(PKG_NAME)/install
	$(INSTALL_DIR) $(1)/www
	$(CP) htdocs/* $(1)/www/
	$(CP) root/* $(1)/
endef

define language
define Package/luci-i18n-$(LUCI_BASENAME)-$(1)
  DEPENDS:=$(PKG_NAME)
endef
define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/install
	$(INSTALL_DIR) $$(1)/etc/uci-defaults $$(1)/usr/lib/lua/luci/i18n
	touch $$(1)/etc/uci-defaults/luci-i18n-$(LUCI_BASENAME)-$(1)
	touch $$(1)/usr/lib/lua/luci/i18n/$(LUCI_BASENAME).$(1).lmo
endef
endef

$(foreach l,$(LUCI_LANGUAGES),$(eval $(call language,$(l))))
$(foreach p,$(PKG_NAME) $(LUCI_LANGUAGES:%=luci-i18n-$(LUCI_BASENAME)-%),$(eval $(call BuildPackage,$(p))))
