package bench

import "testing"

func TestRecordsInPlaceOfWhatWasThere(t *testing.T) {
	const document = "# A\n<!-- scripts/bench dns -->\nold\n<!-- end -->\nmore\n<!-- scripts/bench forward -->\n<!-- end -->\n"
	for _, c := range []struct{ name, want string }{
		{"dns", "# A\n<!-- scripts/bench dns -->\nnew\n<!-- end -->\nmore\n<!-- scripts/bench forward -->\n<!-- end -->\n"},
		{"forward", "# A\n<!-- scripts/bench dns -->\nold\n<!-- end -->\nmore\n<!-- scripts/bench forward -->\nnew\n<!-- end -->\n"},
	} {
		got, err := Record([]byte(document), c.name, "new\n")
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		again, err := Record(got, c.name, "new\n")
		if err != nil || string(again) != c.want {
			t.Errorf("%s, once more: %q, %v", c.name, again, err)
		}
	}
	for _, bad := range []string{"", "<!-- scripts/bench dns -->\n", "<!-- scripts/bench dns -->\n<!-- scripts/bench x -->\n<!-- end -->\n"} {
		if got, err := Record([]byte(bad), "dns", "new\n"); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}
