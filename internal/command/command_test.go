package command_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/command"
)

// program is a command line that notes what it was called with.
func program() (root *command.Command, called *string) {
	called = new(string)
	root = &command.Command{Use: "prog", Short: "Do things", Long: "Does things.\nMany.", Example: "  prog do it"}
	do := &command.Command{Use: "do WHAT", Short: "Do one thing", Example: "  prog do it", Args: command.Exactly(1)}
	file, loud, limit := "/etc/it", false, time.Second
	var names []string
	var numbers []int
	do.String(&file, "file", "`FILE` of settings")
	do.Switch(&loud, "loud", "say more")
	do.Duration(&limit, "time", "`TIME` to wait")
	do.Strings(&names, "name", "`NAME` of a thing; may be repeated")
	do.Ints(&numbers, "number", "`NUMBERS` of files").Hidden = true
	do.Run = func(_ context.Context, args []string) error {
		*called = fmt.Sprintf("do %q file=%s loud=%t time=%s name=%q number=%d", args, file, loud, limit, names, numbers)
		return nil
	}
	group := &command.Command{Use: "group", Short: "Hold others"}
	list := &command.Command{Use: "list [NAME]", Short: "List", Args: command.AtMost(1)}
	to := ""
	list.String(&to, "to", "`PLACE`").Required = true
	list.Run = func(_ context.Context, args []string) error {
		*called = fmt.Sprintf("list %q to=%s", args, to)
		return nil
	}
	group.Add(list, &command.Command{Use: "secret", Hidden: true, Short: "Hidden", Args: command.None, Run: func(context.Context, []string) error {
		*called = "secret"
		return errors.New("it failed")
	}})
	root.Add(group, do)
	return root, called
}

// words splits a line at spaces; two apostrophes are an empty word.
func words(line string) []string {
	out := strings.Fields(line)
	for i, w := range out {
		if w == "''" {
			out[i] = ""
		}
	}
	return out
}

func TestFlagsStandAnywhere(t *testing.T) {
	const plain = `file=/etc/it loud=false time=1s name=[] number=[]`
	for _, tc := range []struct{ line, want string }{
		{"do it", `do ["it"] ` + plain},
		{"do --file /a it", `do ["it"] file=/a loud=false time=1s name=[] number=[]`},
		{"do it --file=/a --loud", `do ["it"] file=/a loud=true time=1s name=[] number=[]`},
		{"do --loud it --file --x", `do ["it"] file=--x loud=true time=1s name=[] number=[]`},
		{"do --loud=true --loud=false it", `do ["it"] ` + plain},
		{"do --file= it", `do ["it"] file= loud=false time=1s name=[] number=[]`},
		{"do --file '' it", `do ["it"] file= loud=false time=1s name=[] number=[]`},
		{"do --file=a=b it", `do ["it"] file=a=b loud=false time=1s name=[] number=[]`},
		{"do it --time 2m --name a --name b,c --number 3,4", `do ["it"] file=/etc/it loud=false time=2m0s name=["a" "b" "c"] number=[3 4]`},
		{"do -- --loud", `do ["--loud"] ` + plain},
		{"do --loud -- -h", `do ["-h"] file=/etc/it loud=true time=1s name=[] number=[]`},
		{"do -", `do ["-"] ` + plain},
		{"do ''", `do [""] ` + plain},
		{"--file /a do it", `do ["it"] file=/a loud=false time=1s name=[] number=[]`},
		{"--file do do it", `do ["it"] file=do loud=false time=1s name=[] number=[]`},
		{"--loud do it", `do ["it"] file=/etc/it loud=true time=1s name=[] number=[]`},
		{"--help=false do it", `do ["it"] ` + plain},
		{"group list --to a", `list [] to=a`},
		{"group --to a list x", `list ["x"] to=a`},
		{"--to list group list list", `list ["list"] to=list`},
		{"group list --to= x", `list ["x"] to=`},
	} {
		root, called := program()
		if _, err := root.Execute(t.Context(), words(tc.line), &strings.Builder{}); err != nil || *called != tc.want {
			t.Errorf("%s\n calls %s, %v\n want  %s", tc.line, *called, err, tc.want)
		}
	}
}

func TestWrongLinesSayWhatIsWrong(t *testing.T) {
	for _, tc := range []struct{ line, at, want string }{
		{"do", "prog do", "accepts 1 argument, received 0"},
		{"do a b", "prog do", "accepts 1 argument, received 2"},
		{"do a --", "prog do", ""},
		{"do a -- --loud", "prog do", "accepts 1 argument, received 2"},
		{"do a --lod", "prog do", `unknown flag: --lod; did you mean "--loud"?`},
		{"do a --numbe=1", "prog do", `unknown flag: --numbe; did you mean "--name"?`},
		{"do a --frobnicate", "prog do", "unknown flag: --frobnicate"},
		{"--frobnicate do a", "prog do", "unknown flag: --frobnicate"},
		{"do a ---loud", "prog do", "bad flag syntax: ---loud"},
		{"do a --=x", "prog do", "bad flag syntax: --=x"},
		{"do a -x", "prog do", "unknown shorthand flag: 'x' in -x"},
		{"do a -hx", "prog do", "unknown shorthand flag: 'x' in -hx"},
		{"do a -=", "prog do", "bad flag syntax: -="},
		{"do a --file", "prog do", "flag needs an argument: --file"},
		{"do a --loud=maybe", "prog do", `invalid argument "maybe" for --loud: invalid syntax`},
		{"do a --time=1", "prog do", `invalid argument "1" for --time: time: missing unit in duration "1"`},
		{"do a --number 1,x", "prog do", `invalid argument "1,x" for --number: invalid syntax`},
		{"do a --number 99999999999999999999", "prog do", `invalid argument "99999999999999999999" for --number: value out of range`},
		{"do a --lod --help", "prog do", `unknown flag: --lod; did you mean "--loud"?`},
		{"group list", "prog group list", `required flag "to" not set`},
		{"group list a b", "prog group list", "accepts at most 1 argument, received 2"},
		{"group list --to a -- --to", "prog group list", ""},
		{"group secret x", "prog group secret", `accepts no argument, received "x"`},
		{"group lits", "prog group", `there is no command "group lits"; did you mean "list"?`},
		{"group secre", "prog group", `there is no command "group secre"`},
		{"group -- list", "prog group", `there is no command "group list"; did you mean "list"?`},
		{"gr", "prog", `there is no command "gr"; did you mean "group"?`},
		{"gro", "prog", `there is no command "gro"; did you mean "group"?`},
		{"frobnicate", "prog", `there is no command "frobnicate"`},
		{"''", "prog", `there is no command ""; did you mean "do"?`},
	} {
		root, called := program()
		at, err := root.Execute(t.Context(), words(tc.line), &strings.Builder{})
		var usage command.UsageError
		switch {
		case at.Path() != tc.at:
			t.Errorf("%s: at %q, want %q", tc.line, at.Path(), tc.at)
		case tc.want == "":
			if err != nil {
				t.Errorf("%s: %v", tc.line, err)
			}
		case !errors.As(err, &usage) || err.Error() != tc.want || *called != "":
			t.Errorf("%s: %v (%T), called %q\n want %s", tc.line, err, err, *called, tc.want)
		}
	}
}

func TestWhatACommandFailsByIsNoErrorOfUsage(t *testing.T) {
	root, called := program()
	_, err := root.Execute(t.Context(), words("group secret"), &strings.Builder{})
	var usage command.UsageError
	if err == nil || errors.As(err, &usage) || *called != "secret" {
		t.Errorf("%v, called %q; want the command's own error", err, *called)
	}
	for line, path := range map[string]string{"": "prog", "group": "prog group"} {
		at, err := root.Execute(t.Context(), words(line), &strings.Builder{})
		if !errors.Is(err, command.ErrIncomplete) || at.Path() != path {
			t.Errorf("%q: %v at %s, want ErrIncomplete", line, err, at.Path())
		}
	}
}

// The texts are those that spf13/cobra gave.
const helpOfAll = `Does things.
Many.

Usage:
  prog [flags]
  prog [command]

Examples:
  prog do it

Available Commands:
  do          Do one thing
  group       Hold others

Flags:
  -h, --help   help for prog

Use "prog [command] --help" for more information about a command.
`

const helpOfOne = `Do one thing

Usage:
  prog do WHAT [flags]

Examples:
  prog do it

Flags:
      --file FILE   FILE of settings (default "/etc/it")
  -h, --help        help for do
      --loud        say more
      --name NAME   NAME of a thing; may be repeated
      --time TIME   TIME to wait (default 1s)
`

func TestHelpTellsAboutACommand(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"--help", helpOfAll},
		{"-h", helpOfAll},
		{"do --help", helpOfOne},
		{"do -h=true a b c", helpOfOne},
		{"do a b c -hh --loud", helpOfOne},
		{"--help do", helpOfOne},
		{"-h do", helpOfOne},
		{"group list --help", "List\n\nUsage:\n  prog group list [NAME] [flags]\n\nFlags:\n  -h, --help       help for list\n      --to PLACE   PLACE\n"},
		{"group --help", "Hold others\n\nUsage:\n  prog group [flags]\n  prog group [command]\n\nAvailable Commands:\n  list        List\n\nFlags:\n  -h, --help   help for group\n\nUse \"prog group [command] --help\" for more information about a command.\n"},
	} {
		root, called := program()
		var out strings.Builder
		if _, err := root.Execute(t.Context(), words(tc.line), &out); err != nil || out.String() != tc.want || *called != "" {
			t.Errorf("%s: %v, called %q\n%s\nwant\n%s", tc.line, err, *called, out.String(), tc.want)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestHelpThatCannotBeWrittenIsAFailure(t *testing.T) {
	root, _ := program()
	if _, err := root.Execute(t.Context(), []string{"--help"}, broken{}); err == nil || err.Error() != "broken pipe" {
		t.Errorf("%v, want the cause", err)
	}
}

// FuzzExecute finds no line that ends otherwise than in a call or an error, and
// none whose words behind -- are taken for flags.
func FuzzExecute(f *testing.F) {
	for _, s := range []string{"do it --file /a", "group list --to=a -- -h", "-h", "--", "do - -= --= ---"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		root, called := program()
		var out strings.Builder
		_, err := root.Execute(t.Context(), append(strings.Fields(line), "--", "--loud"), &out)
		if err == nil && *called == "" && out.Len() == 0 {
			t.Errorf("%q: nothing happened", line)
		}
		if strings.Contains(*called, `do [`) && !strings.Contains(*called, "--loud") {
			t.Errorf("%q: %s has lost a word", line, *called)
		}
	})
}
