// Package pack makes what a feed of OpenWrt packages needs beside the packages
// themselves: LuCI's binary catalogues of translations (.lmo), the indexes of
// opkg (Packages) and apk (APKINDEX), their signatures, and checksums. It writes
// formats of others, and each file says where they are described.
package pack
