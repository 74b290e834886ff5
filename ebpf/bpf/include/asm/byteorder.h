/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The BPF machine has no asm directory of its own among the system headers. */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#include <linux/byteorder/big_endian.h>
#else
#include <linux/byteorder/little_endian.h>
#endif
