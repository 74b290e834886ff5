// Package reach measures whether destinations can be used, layer by layer and
// path by path, and says what that means. It knows nothing of policy: who asks
// decides what to do about a verdict.
//
// The method is that of OONI's: what was seen (Observation) is kept raw, what
// came of it on one path (Result) and what all paths together say (Finding) are
// pure functions of it, and a finding becomes a verdict only after it repeats
// (Tracker). docs/reachability.md tells it for people.
//
// Order of files: words and observation hold the types; prober, lookup,
// session, http and stratum make observations; judge, compare and sentence read
// them; tracker, schedule, budget and history remember; runner puts it together.
package reach
