# is sourced
