/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The BPF machine has no asm directory of its own among the system headers. */
#include <asm-generic/bitsperlong.h>
