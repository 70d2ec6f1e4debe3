package lines

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestEach(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"entries", "a\nb\n", "1 a|;2 b|;"},
		{"comments", "# all\n a#b  # why # not\nc\t#\n#\n", "2 a#b|why # not;3 c|;"},
		{"blanks", "\r\n\t a b \r\n", "2 a b|;"},
		{"byte order mark", "\ufeffa\n\ufeffb\n", "1 a|;2 \ufeffb|;"},
		{"no end", "a\nb", "1 a|;2 b|;"},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got strings.Builder
			err := Each("list", strings.NewReader(c.text), func(n int, entry, comment string) error {
				fmt.Fprintf(&got, "%d %s|%s;", n, entry, comment)
				return nil
			})
			if err != nil || got.String() != c.want {
				t.Errorf("%q, %v; want %q", got.String(), err, c.want)
			}
		})
	}
}

// TestLongestLine: a line of just so many octets is one, whatever ends it.
func TestLongestLine(t *testing.T) {
	longest := strings.Repeat("x", MaxLine)
	for _, c := range []struct{ before, after string }{{"", ""}, {"", "\n"}, {"", "\r\n"}, {"a\n", "\nb\n"}, {"a\n", "\r\n" + longest}, {"\ufeff", "\r\n"}} {
		found := 0
		err := Each("list", strings.NewReader(c.before+longest+c.after), func(_ int, entry, _ string) error {
			if entry == longest {
				found++
			}
			return nil
		})
		if err != nil || found == 0 {
			t.Errorf("%q before, and after it something of %d octets: found %d times, %v", c.before, len(c.after), found, err)
		}
		err = Each("list", strings.NewReader(c.before+longest+"x"+c.after), func(int, string, string) error { return nil })
		if want := fmt.Sprintf("list:%d: line longer than 4096 octets", 1+strings.Count(c.before, "\n")); err == nil || err.Error() != want {
			t.Errorf("one octet more: %v, want %s", err, want)
		}
	}
}

func TestEachErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct{ name, text, want string }{
		{"of the entry", "a\n\nb\n", "list:3: broken"},
		{"long line", "a\n" + strings.Repeat("x", MaxLine+1), "list:2: line longer than 4096 octets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Each("list", strings.NewReader(c.text), func(_ int, entry, _ string) error {
				if entry == "b" {
					return broken
				}
				return nil
			})
			if err == nil || err.Error() != c.want {
				t.Errorf("%v; want %s", err, c.want)
			}
		})
	}
}
