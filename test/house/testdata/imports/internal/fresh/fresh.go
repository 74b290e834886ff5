// Package fresh is in no table.
package fresh
