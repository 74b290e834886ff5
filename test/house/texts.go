package house

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// spdx is the first line of every source of the BPF programs.
const spdx = "SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause"

func checkLicences(t *Tree) []Finding {
	var found []Finding
	for _, text := range t.Texts {
		if ext := path.Ext(text.Path); !within(text.Path, "ebpf") || ext != ".c" && ext != ".h" {
			continue
		}
		first, _, _ := bytes.Cut(text.Content, []byte("\n"))
		if !bytes.Contains(first, []byte(spdx)) {
			found = append(found, Finding{Rule: RuleLicence, File: text.Path, Line: 1, Text: "the first line must say " + spdx})
		}
	}
	return found
}

// Scripts lists the programs of scripts/, those that are only sourced left out.
func Scripts(t *Tree) []Text {
	var all []Text
	for _, text := range t.Texts {
		if within(text.Path, "scripts") && text.Ext() == ".sh" && path.Ext(text.Path) != ".sh" {
			all = append(all, text)
		}
	}
	return all
}

func checkScripts(t *Tree) []Finding {
	var found []Finding
	for _, text := range Scripts(t) {
		report := func(line int, words string) {
			found = append(found, Finding{Rule: RuleScript, File: text.Path, Line: line, Text: words})
		}
		if text.Mode&0o111 == 0 {
			report(1, "is not executable: chmod +x")
		}
		if !bytes.HasPrefix(text.Content, []byte("#!/usr/bin/env bash\n")) {
			report(1, "must begin with #!/usr/bin/env bash")
		}
		if !bytes.Contains(text.Content, []byte("\nset -euo pipefail\n")) {
			report(1, "lacks set -euo pipefail")
		}
		if !bytes.Contains(text.Content, []byte("--help")) {
			report(1, "knows no --help")
		}
	}
	return found
}

// link is a link of Markdown; the target ends before a title or an anchor.
var link = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)

func checkLinks(t *Tree) []Finding {
	exists := map[string]bool{}
	for _, file := range t.Paths {
		for p := file; p != "."; p = path.Dir(p) {
			exists[p] = true
		}
	}
	var found []Finding
	for _, text := range t.Texts {
		if path.Ext(text.Path) != ".md" {
			continue
		}
		for i, line := range strings.Split(string(text.Content), "\n") {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				target := path.Join(path.Dir(text.Path), m[1])
				if !strings.Contains(m[1], "://") && !strings.HasPrefix(m[1], "mailto:") && !exists[target] {
					found = append(found, Finding{Rule: RuleLink, File: text.Path, Line: i + 1, Text: fmt.Sprintf("%s does not exist", m[1])})
				}
			}
		}
	}
	return found
}

// pinned is the requirement of a module that must have one version everywhere:
// bpf2go writes code for the library of its own version.
var pinned = regexp.MustCompile(`(?m)^\s*(?:require )?github\.com/cilium/ebpf (v\S+)`)

func checkPins(t *Tree) []Finding {
	versions := map[string]string{}
	for _, text := range t.Texts {
		if path.Base(text.Path) != "go.mod" {
			continue
		}
		if m := pinned.FindSubmatch(text.Content); m != nil {
			versions[text.Path] = string(m[1])
		}
	}
	if versions["go.mod"] == versions["tools/go.mod"] {
		return nil
	}
	return []Finding{{
		Rule: RulePin, File: "tools/go.mod", Line: 1,
		Text: fmt.Sprintf("bpf2go is of cilium/ebpf %q, go.mod has %q", versions["tools/go.mod"], versions["go.mod"]),
	}}
}
