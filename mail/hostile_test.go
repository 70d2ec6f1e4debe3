//go:build !race

package mail

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Hostile contents of 4 MB take time in proportion to their size, and memory by the limits only.
func TestIndexHostile(t *testing.T) {
	const size = 4 << 20
	head := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	nested := func(n int, boundary func(i int) string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n", boundary(i), boundary(i))
		}
		return b.String()
	}
	level := func(i int) string { return fmt.Sprintf("b%d", i) }
	equal := func(int) string { return "b" }
	prefixes := func(i int) string { return strings.Repeat("b", 1+i%60) }
	tests := []struct{ name, head, piece string }{
		{"lines of dashes", head, "--\r\n"},
		{"long lines of dashes", head, strings.Repeat("-", 1<<16) + "\r\n"},
		{"only dashes", head, "-"},
		{"carriage return, no dashes", head, "\r\n"},
		{"almost delimiters", head, "\r\n-b"},
		{"almost the boundary", head, "--bb\r\n"},
		{"delimiters", head, "--b\r\n"},
		{"close delimiters", head, "--b--\r\n"},
		{"delimiters with long blanks", head, "--b" + strings.Repeat(" ", 5000) + "\r\n"},
		{"delimiters behind fifty levels", nested(49, level), "--b0x\r\n--b48x\r\n"},
		{"delimiters behind fifty equal levels", nested(49, equal), "--b\r\n"},
		{"delimiters behind fifty levels of prefixes", nested(49, prefixes), "--bbbbbb\r\nx--\r\n"},
		{"nesting without end", nested(20000, level), "x\r\n"},
		{"multiparts without parts", head, "--b\r\nContent-Type: multipart/mixed; boundary=a/b; boundary=c/d; boundary=e/f\r\n\r\n"},
		{"messages without end", "", "Content-Type: message/rfc822\r\n\r\n"},
		{"header without end", head + "--b\r\n", "A: b\r\n"},
		{"long headers", head, "--b\r\n" + strings.Repeat("A: b\r\n", 12000)},
		{"long headers without a blank line", head, "--b\r\n" + strings.Repeat("Axxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 4000) + "\r\n"},
		{"header lines of dashes", head, "--b\r\n" + strings.Repeat("--x\r\n", 1900)},
		{"many folded lines", "Content-Type: a/b;\r\n", " a=b;\r\n"},
	}
	for _, test := range tests {
		msg := []byte(test.head + strings.Repeat(test.piece, size/len(test.piece)))
		t.Run(test.name, func(t *testing.T) {
			for name, c := range map[string]*Content{"memory": contentOf(t, string(msg), Limits{}), "file": fileContent(t, msg)} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := time.Now()
				c.Root()
				took := time.Since(began)
				runtime.ReadMemStats(&after)
				if took > 20*time.Second {
					t.Errorf("%s: took %s", name, took)
				}
				if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
					t.Errorf("%s: allocated %d MiB", name, used>>20)
				}
				if err := checkTree(c); err != nil || c.Err() != nil {
					t.Errorf("%s: %v %v", name, err, c.Err())
				}
				t.Logf("%s: %s, %d KiB", name, took, (after.TotalAlloc-before.TotalAlloc)>>10)
			}
		})
	}
}

// Twice the field, twice the search: "?=" is not looked for again from each place where a word might begin.
func TestWordsLinear(t *testing.T) {
	for _, piece := range []string{"=?a?z? ", "=?a?q? ", "=?a?q?", "=?a?b?x?= ", "=?utf-8?q?a?=", "=?", "?=", "=?a?q?=?"} {
		for _, ending := range []string{"", "?="} {
			for size := 1 << 10; size <= 256<<10; size *= 2 {
				s := strings.Repeat(piece, size/len(piece)) + ending
				words := wordScanner{s: s}
				for at := 0; at < len(s)-1; at++ {
					if s[at:at+2] == "=?" {
						_, n := words.word(at)
						at += max(n-1, 0)
					}
				}
				if words.steps > len(s) {
					t.Fatalf("%q: %d octets searched of %d", piece, words.steps, len(s))
				}
			}
		}
	}
}

// Hostile fields, 256 KiB each, take time in proportion to their size: a parser that went over its input
// again for each octet would take minutes.
func TestFieldsLinear(t *testing.T) {
	const size = 256 << 10
	for _, piece := range []string{
		"(", ")", "=?", "=?a?q?", "=?a?z? ", "=?utf-8?q?a?= ", "?=", "a:", "@:", "a@b:", "<", "<\"", "\"", "\\", "a=b ", "a=\"b\" ", ";", "=", "\"\"x;",
		"x=(;", "filename*0*=a'b'%41;", "filename=a b;", "filename*1=x ", "=?cp037?q?a?=", "=?x-?b?YQ==YQ?=z", "=?utf-7?q?+?= z", "filename*=utf-16''a;", "name", "--a\r\n ", ",<", "@",
	} {
		t.Run(piece, func(t *testing.T) {
			body := strings.Repeat(piece, size/len(piece))
			began := time.Now()
			ParseMailboxes(body)
			ParseMailboxes(body + "?=")
			DecodeWords(body)
			DecodeWords(body + "?=")
			for _, head := range []string{"", "a/b; ", "a/b; name=\"", "a/b; name="} {
				c := contentOf(t, "Content-Type: "+head+body+"\r\n\r\n", Limits{HeaderOctets: 1 << 20})
				c.Root()
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}
