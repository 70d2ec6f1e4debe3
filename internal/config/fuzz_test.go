package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"
)

// FuzzParse: no text makes Parse panic, every fault lies in the file, and what Show gives of a
// configuration that was read is read as the same.
func FuzzParse(f *testing.F) {
	good, _ := filepath.Glob("testdata/good/*.yaml")
	for _, file := range good {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	bad, _ := filepath.Glob("testdata/bad/*.txtar")
	for _, file := range bad {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
	f.Add([]byte(overlayFaults))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data, kinds)
		var errs Errors
		if err != nil {
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("not an Errors: %v", err)
			}
			lines := bytes.Count(lineEnds(data), []byte("\n")) + 1
			for _, e := range errs {
				if e.Line < 0 || e.Line > lines+1 || e.Msg == "" {
					t.Fatalf("%d lines, and %v", lines, e)
				}
			}
			return
		}
		for _, fl := range c.Filters {
			o := defaultOptions()
			_ = fl.DecodeFor("strict", &o)
		}
		shown := c.Show()
		again, err := Parse("shown", shown, kinds)
		if err != nil {
			t.Fatalf("%v\n%s", err, shown)
		}
		if second := again.Show(); !bytes.Equal(shown, second) {
			t.Fatalf("first:\n%s\nsecond:\n%s", shown, second)
		}
	})
}

// TestBombs: what is small and means much, or takes the parser long, is refused soon.
func TestBombs(t *testing.T) {
	aliases := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		p := string(rune('0' + i))
		n := string(rune('1' + i))
		aliases += "a" + n + ": &a" + n + " [" + strings.Repeat("*a"+p+", ", 9) + "*a" + p + "]\n"
	}
	for _, tt := range []struct{ name, text, want string }{
		{"aliases", aliases, "elements"},
		{"alias of itself", "a: &a [*a]\n", "no anchor"},
		{"deep brackets", strings.Repeat("[", 1000) + strings.Repeat("]", 1000), "nested"},
		{"deep lists", strings.Repeat("- ", 1000) + "x", "nested"},
		{"deep merges", "a: &a {b: 1}\n" + strings.Repeat("c: &a {<<: *a}\n", 1500), "stands here again"},
		{"many brackets", strings.Repeat("[", 1<<19), "elements"},
		{"many pairs", strings.Repeat("a: 1\n", 1<<17), "elements"},
		{"many questions", strings.Repeat("? ", 1<<18), "elements"},
		{"many aliases", strings.Repeat("*a ", 1<<17), "elements"},
		{"many faults", "a: {" + strings.Repeat("b: 1, ", 9000) + "}\n", "faults more"},
		{"too long", strings.Repeat("# x\n", 1<<18) + "a", "more than 1MiB"},
		{"just fits", strings.Repeat("#xx\n", 1<<18), "empty"},
		{"NUL", "hostname: a\x00b", "NUL"},
		{"not UTF-8", "hostname: \xff", "UTF-8"},
		{"long key", strings.Repeat("k", 1<<19) + ": 1\n", "unknown key"},
		{"colons", strings.Repeat(":", 1<<18), "unknown key"},
		{"quotes", strings.Repeat("'", 1<<18) + "x", ""},
		{"dashes", strings.Repeat("-", 1<<18), ""},
		{"percent", strings.Repeat("%", 1<<18), ""},
		{"tabs", strings.Repeat("\t", 1<<18), ""},
		{"newlines", strings.Repeat("\n", 1<<19) + "x", ""},
		{"block", "a: |\n" + strings.Repeat(" x\n", 1<<17), ""},
		{"words", strings.Repeat("word ", 1<<17), ""},
		{"bars", strings.Repeat("| ", 1<<18), ""},
		{"ats", strings.Repeat("@", 1<<18), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			_, err := Parse("bomb", []byte(tt.text), kinds)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.300v", err)
			}
			if len(err.Error()) > 1<<20 {
				t.Errorf("the error has %d octets", len(err.Error()))
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			} else {
				t.Log(took)
			}
		})
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"30d", 30 * day, true},
		{"2w", 14 * day, true},
		{"1w2d12h", 9*day + 12*time.Hour, true},
		{"90s", 90 * time.Second, true},
		{"1m30s", 90 * time.Second, true},
		{"0", 0, true},
		{"1.5h", 90 * time.Minute, true},
		{"", 0, false},
		{"5", 0, false},
		{"-1s", 0, false},
		{"d", 0, false},
		{"1d1w", 0, false},
		{"1d-1h", 0, false},
		{"-1d", 0, false},
		{"200000w", 0, false},
		{"106751d24h", 0, false},
		{"1 d", 0, false},
		{"1y", 0, false},
	} {
		if got, err := ParseDuration(tt.in); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("ParseDuration(%q) = %v, %v", tt.in, got, err)
		}
	}
	for _, tt := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"0", 0, true},
		{"1024", 1024, true},
		{"50MiB", 50 << 20, true},
		{"1k", 1000, true},
		{"2 GiB", 2 << 30, true},
		{"3G", 3e9, true},
		{"", 0, false},
		{"MiB", 0, false},
		{"-1", 0, false},
		{"1.5MiB", 0, false},
		{"8000000TiB", 8000000 << 40, true},
		{"9000000TiB", 0, false},
		{"1MB", 0, false},
		{"1K", 0, false},
	} {
		if got, err := ParseSize(tt.in); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("ParseSize(%q) = %v, %v", tt.in, got, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Min(0).Draw(t, "duration"))
		if got, err := ParseDuration(FormatDuration(d)); got != d || err != nil {
			t.Fatalf("%v is written %q and read %v, %v", d, FormatDuration(d), got, err)
		}
		n := rapid.Int64Min(0).Draw(t, "octets")
		if got, err := ParseSize(FormatSize(n)); got != n || err != nil {
			t.Fatalf("%d is written %q and read %d, %v", n, FormatSize(n), got, err)
		}
	})
}

// TestTexts: whatever text an option holds, Show writes it so that it is read as the same.
func TestTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"off", "~", "null", "5", "*a", "&a", "a: b", "#", " ", "- a", "\n", "\u2028", "\ufeff", "a\tb"})).Draw(t, "text")
		if strings.ContainsRune(s, 0) {
			return
		}
		_, root, errs := readTree("t", []byte("k: "+text(s)+"\n"+word(s+"x")+": [ "+text(s)+", "+text(s)+"]\n"))
		if root == nil || len(errs) > 0 {
			t.Fatalf("%q is written %s: %v", s, text(s), errs)
		}
		if got := root.pair("k"); got == nil || got.value.text != s {
			t.Fatalf("%q is written %s and read %+v", s, text(s), got)
		}
		if got := root.pair(s + "x"); got == nil || len(got.value.items) != 2 || got.value.items[1].text != s {
			t.Fatalf("as a key, %q is written %s and read %+v", s, word(s+"x"), root)
		}
	})
}
