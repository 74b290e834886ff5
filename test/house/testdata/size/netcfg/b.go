package netcfg

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line

// line
