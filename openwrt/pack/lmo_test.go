package pack

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// The hashes were computed by LuCI's own code (luci-base, src/lib/lmo.c).
func TestSFHIsLuCIs(t *testing.T) {
	for text, want := range map[string]uint32{
		"": 0, "a": 0x115ea782, "ab": 0x516b8b44, "abc": 0xd2be198a, "abcd": 0xdad8b8db, "Overview": 0xadbaae97,
		"Туннели": 0x02519976, "é": 0xc4fba554, "ab…": 0xb5454a5e,
	} {
		if got := SFH(text); got != want {
			t.Errorf("SFH(%q) is %08x, want %08x", text, got, want)
		}
	}
}

func TestLMOIsLaidOutAsLuCIReadsIt(t *testing.T) {
	out, err := LMO(parse(t, "msgid \"\"\nmsgstr \"Plural-Forms: n;\\n\"\n\nmsgid \"a\"\nmsgstr \"xyz\"\n\nmsgid \"same\"\nmsgstr \"same\"\n\nmsgid \"none\"\nmsgstr \"\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "6e3b0000" + "78797a00" + // "n;" and "xyz", padded
		"00000000" + "00000000" + "00000000" + "00000002" + // the plural's formula
		"115ea782" + "00000001" + "00000004" + "00000003" + // "a"
		"00000008" // where the index begins
	if got := hex.EncodeToString(out); got != want {
		t.Errorf("the file is\n%s, want\n%s", got, want)
	}
}

func TestLMOHoldsTheRussianTranslation(t *testing.T) {
	c := readPO(t, "ru/routerd.po")
	out, err := LMO(c)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := ReadLMO(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Messages {
		if want := m.Strings[0]; want != m.ID && texts[SFH(messageKey(m, 0))] != want {
			t.Errorf("%q is %q, want %q", m.ID, texts[SFH(messageKey(m, 0))], want)
		}
	}
}

func TestLMORefusesWhatLuCIWouldNotFind(t *testing.T) {
	for text, want := range map[string]string{
		`msgid "a\nb"` + "\nmsgstr \"x\"\n":                        "line breaks",
		`msgid "two  spaces"` + "\nmsgstr \"x\"\n":                 "spaces",
		`msgid " a"` + "\nmsgstr \"x\"\n":                          "spaces",
		"msgid \"a\"\nmsgstr \"x\"\n\nmsgid \"a\"\nmsgstr \"y\"\n": "the same",
	} {
		if _, err := LMO(parse(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestBrokenCataloguesAreRefused(t *testing.T) {
	for _, file := range []string{"", "abc", "\x00\x00\x00\x09", "xxxx\x00\x00\x00\x01", strings.Repeat("\xff", 20) + "\x00\x00\x00\x04"} {
		if _, err := ReadLMO([]byte(file)); !errors.Is(err, ErrLMO) {
			t.Errorf("%q: error %v", file, err)
		}
	}
}
