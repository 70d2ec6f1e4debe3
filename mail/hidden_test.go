package mail

import (
	"strings"
	"testing"
)

// TestMayBegin: a field that is passed over has no name that begins with the letter, however it is disguised.
func TestMayBegin(t *testing.T) {
	starts := []string{"", " ", "\t", "\x00", "\x7f", "\u00ad", "\u200b", "\xff", "\u2003", "\ufeff", ":", "-", "b", "\u0430", "\r\n"}
	names := []string{"Authentication-Results", "aUTHENTICATION-results", "X-Spam-Flag", "x-postern-a", "\u017fx", "Subject", ""}
	for _, first := range starts {
		for _, second := range starts {
			for _, n := range names {
				f := Field{Raw: first + second + n + ": x"}
				name, _ := f.Lenient()
				for _, letter := range []byte("ax") {
					if strings.HasPrefix(name, string(letter)) && !f.MayBegin(letter) {
						t.Errorf("%q is passed over, and its name is %q", f.Raw, name)
					}
				}
			}
		}
	}
	for line, want := range map[string]bool{"Authentication-Results: x": true, "\ta": true, "b": false, "": false, "\t": false, "\u200bb": true} {
		if got := (Field{Raw: line}).MayBegin('a'); got != want {
			t.Errorf("%q: got %t", line, got)
		}
	}
}
