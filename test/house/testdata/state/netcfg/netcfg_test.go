package netcfg

func rewrite() { inTest[0] = 2 }
