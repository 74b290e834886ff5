package house

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExceptionsNeedARuleASubjectAndAReason(t *testing.T) {
	tests := []struct {
		name, line string
		ok         bool
	}{
		{"whole", "file-length a.go the packets of one table", true},
		{"comment", "# file-length", true},
		{"blank", "  ", true},
		{"no reason", "file-length a.go", false},
		{"a reason that is none", "file-length a.go too long", false},
		{"only a rule", "file-length", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ReadExceptions("# head\n" + test.line + "\n")
			if (err == nil) != test.ok {
				t.Errorf("error %v, want ok %v", err, test.ok)
			}
			if err != nil && !strings.Contains(err.Error(), "line 2") {
				t.Errorf("error %q does not name the line", err)
			}
		})
	}
}

func TestExceptAllowsOnlyWhatIsListed(t *testing.T) {
	exceptions, err := ReadExceptions(`file-length a.go the packets of one table
function-length a.go:T.M one case for each option
complexity b.go:F was not measured this time
doc c.go is not needed any more`)
	if err != nil {
		t.Fatal(err)
	}
	found := []Finding{
		{Rule: RuleFileLength, File: "a.go"},
		{Rule: RuleFunctionLength, File: "a.go", Func: "T.M"},
		{Rule: RuleFunctionLength, File: "a.go", Func: "F"},
		{Rule: RuleFileLength, File: "b.go"},
	}
	var got []string
	for _, f := range Except(found, exceptions, func(r Rule) bool { return r != RuleComplexity }) {
		got = append(got, string(f.Rule)+" "+f.Subject())
	}
	want := []string{"function-length a.go:F", "file-length b.go", "exception test/house/exceptions.txt"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings left (-want +got):\n%s", diff)
	}
}
