/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Nothing of this machine: linux/swab.h has the general forms. */
