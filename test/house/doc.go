// Package house checks the style of this repository's own sources: sizes,
// import direction, documentation, package state, comments, scripts and links.
// It works on syntax alone, so that it also runs where a package does not
// compile. The limits stand in this package, deviations with their reasons in
// exceptions.txt.
package house
