package mail

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPrefixed(t *testing.T) {
	long := strings.Repeat("word ", 14) + "end"
	tests := []struct{ name, field, word, want string }{
		{"plain", "Subject: an offer\r\n", "[SPAM]", "[SPAM] an offer"},
		{"empty", "Subject:\r\n", "[SPAM]", "[SPAM]"},
		{"without its line end", "Subject: x", "[SPAM]", "[SPAM] x"},
		{"has it", "Subject: [SPAM] x\r\n", "[SPAM]", ""},
		{"a reply to one that has it", "Subject: Re: [SPAM] x\r\n", "[SPAM]", ""},
		{"has it where nobody looks", "Subject: " + long + " [SPAM]\r\n", "[SPAM]", "[SPAM]\r\n " + long + " [SPAM]"},
		{"has it behind many blanks", "Subject: a" + strings.Repeat(" ", 60) + "[SPAM]\r\n", "[SPAM]", ""},
		{"has it encoded", "Subject: =?utf-8?Q?=5BSPAM=5D_x?=\r\n", "[SPAM]", ""},
		{"encoded stays", "Subject: =?utf-8?B?w6Q=?=\r\n", "[SPAM]", "[SPAM] =?utf-8?B?w6Q=?="},
		{"a word that is not ASCII", "Subject: =?utf-8?B?w6Q=?=\r\n", "[\u00e9]", "=?utf-8?q?[=C3=A9]_?= =?utf-8?B?w6Q=?="},
		{"folds stay", "Subject: a\r\n\tb\r\n", "[SPAM]", "[SPAM] a\r\n\tb"},
		{"folded at once", "Subject:\r\n a\r\n", "[SPAM]", "[SPAM]\r\n a"},
		{"a long line", "Subject: " + long + "\r\n", "[SPAM]", "[SPAM]\r\n " + long},
		{"a line of blanks", "Subject: a\r\n \t\r\n b\r\n", "[SPAM]", "[SPAM] a b"},
		{"no field", "a line\r\n", "[SPAM]", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := contentOf(t, tt.field+"\r\n\r\n", Limits{})
			if got := c.Header().Fields()[0].Prefixed(tt.word); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestPrefixedIsAField: whatever stands in the field, what comes out may take its place, and is read as the word and the rest.
func TestPrefixedIsAField(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", " ", "\t", "\r\n ", "\r\n\t", "\xff", "=?utf-8?Q?=41?=", "\u00e4", strings.Repeat("x", 80), ":", "[S]"})
	rapid.Check(t, func(r *rapid.T) {
		text := "Subject:" + strings.Join(rapid.SliceOf(piece).Draw(r, "pieces"), "") + "\r\n"
		word := rapid.SampledFrom([]string{"[S]", "[S T]", "\u00e9"}).Draw(r, "word")
		c := NewContent(NewBlob([]byte(text+"\r\nbody\r\n")), LineFaults{}, Limits{})
		defer c.Release()
		f := c.Header().Fields()[0]
		body := f.Prefixed(word)
		if body == "" {
			if !strings.Contains(start(DecodeWords(f.Body())), word) {
				r.Fatalf("%q has no %q", text, word)
			}
			return
		}
		m, err := Rewrite(c, []Edit{ReplaceField{0, body}}, false)
		if err != nil {
			r.Fatalf("%q: %v", body, err)
		}
		defer m.Release()
		h, err := m.Header(Limits{})
		if err != nil || len(h.Fields()) != 1 {
			r.Fatalf("%q: %d fields, %v", body, len(h.Fields()), err)
		}
		got := strings.Join(strings.Fields(DecodeWords(h.Fields()[0].Body())), " ")
		want := strings.Join(strings.Fields(word+" "+DecodeWords(f.Body())), " ")
		if got != want {
			r.Fatalf("%q is read as %q, want %q", body, got, want)
		}
		bare, ok := h.Fields()[0].Unprefixed(word)
		m2, err := Rewrite(c, []Edit{ReplaceField{0, bare}}, false)
		if !ok || err != nil {
			r.Fatalf("%q without %q is %q: %v, %v", body, word, bare, ok, err)
		}
		defer m2.Release()
		got = strings.Join(strings.Fields(DecodeWords(Field{Name: "Subject", Raw: "Subject: " + bare + "\r\n"}.Body())), " ")
		if want := strings.Join(strings.Fields(DecodeWords(f.Body())), " "); got != want {
			r.Fatalf("%q without %q is read as %q, want %q", body, word, got, want)
		}
	})
}

func TestUnprefixed(t *testing.T) {
	for field, want := range map[string]string{
		"[SPAM] x":                               "x",
		"[SPAM]":                                 "",
		"[SPAM]\r\n\tx":                          "x",
		"=?utf-8?B?W1NQQU1dIMOk?=":               "=?utf-8?q?=C3=A4?=", // encoded anew on the way
		"[SPAM]x":                                "no",
		"Re: [SPAM] x":                           "no",
		"x":                                      "no",
		"":                                       "no",
		"[SPAM] " + strings.Repeat("\u00e4", 40): "[SPAM] ",
	} {
		f := Field{Name: "Subject", Raw: "Subject: " + field + "\r\n"}
		if strings.HasPrefix(want, "[SPAM] ") {
			want = strings.TrimPrefix(field, want)
		}
		if got, ok := f.Unprefixed("[SPAM]"); ok != (want != "no") || ok && got != want {
			t.Errorf("%q: %q, %v", field, got, ok)
		}
		if got, ok := f.Unprefixed(""); ok {
			t.Errorf("%q without nothing: %q", field, got)
		}
	}
}
