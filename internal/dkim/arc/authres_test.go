package arc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// render writes what was read in the plainest way.
func render(r AuthResults) string {
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	var b strings.Builder
	fmt.Fprintf(&b, "i=%d; %s", r.Instance, quote(r.AuthservID))
	if len(r.Results) == 0 {
		b.WriteString("; none")
	}
	for _, x := range r.Results {
		fmt.Fprintf(&b, "; %s=%s", x.Method, x.Value)
		for _, p := range x.Properties {
			fmt.Fprintf(&b, " %s=%s", p.Name, quote(p.Value))
		}
	}
	return b.String()
}

func TestParseAuthResults(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{ // want: as render writes it; "" for a field that says nothing
		{"plain", " i=1; lists.example.org; dmarc=pass header.from=example.com\r\n", `i=1; "lists.example.org"; dmarc=pass header.from="example.com"`},
		{"folded, with comments", "i=2;\r\n\tmx.example (a (nested) one; dmarc=pass);\r\n dmarc (x) = (y) fail (p=REJECT) header . from = example.com", `i=2; "mx.example"; dmarc=fail header.from="example.com"`},
		{"instance with blanks", " i = 12 (twelve) ; mx.example; none", `i=12; "mx.example"; none`},
		{"version", "i=1; mx.example 1; spf/1=pass smtp.mailfrom=a@b.example", `i=1; "mx.example"; spf=pass smtp.mailfrom="a@b.example"`},
		{"quoted id", `i=1; "mx.example"; spf=none`, `i=1; "mx.example"; spf=none`},
		{"reason", `i=1; mx; dkim=fail reason="a; dmarc=pass header.from=b" header.d=c`, `i=1; "mx"; dkim=fail reason="a; dmarc=pass header.from=b" header.d="c"`},
		{"quoted pair", `i=1; mx; spf=pass smtp.mailfrom="a\";b"@c`, `i=1; "mx"; spf=pass smtp.mailfrom="a\";b@c"`},
		{"property without a type", "i=1; mx.microsoft.example 1; dmarc=pass action=none header.from=x.example; arc=none", `i=1; "mx.microsoft.example"; dmarc=pass action="none" header.from="x.example"; arc=none`},
		{"value that is no token", "i=1; mx; dkim=pass header.b=ab/c+d= header.i=@x", `i=1; "mx"; dkim=pass header.b="ab/c+d=" header.i="@x"`},
		{"semicolon at the end", "i=1; mx; spf=pass; ", `i=1; "mx"; spf=pass`},
		{"capitals", "i=1; MX; DMARC=Pass Header.From=X.example", `i=1; "MX"; dmarc=pass header.from="X.example"`},
		{"only an id", "i=1; mx", `i=1; "mx"; none`},
		{"result in a comment", "i=1; mx; spf=pass (; dmarc=pass header.from=x)", `i=1; "mx"; spf=pass`},
		{"escaped end of a comment", `i=1; mx; spf=pass (\); dmarc=pass header.from=x)`, `i=1; "mx"; spf=pass`},

		{"no instance", "mx; spf=pass", ""},
		{"instance not first", "mx; i=1; spf=pass", ""},
		{"instance 0", "i=0; mx; spf=pass", ""},
		{"instance of three digits", "i=100; mx; spf=pass", ""},
		{"instance without semicolon", "i=1 mx; spf=pass", ""},
		{"capital instance", "I=1; mx; spf=pass", ""},
		{"no id", "i=1; ; spf=pass", ""},
		{"open comment", "i=1; mx; spf=pass (x; dmarc=pass header.from=x", ""},
		{"comment closed twice", "i=1; mx; spf=pass (x)); dmarc=pass header.from=x", ""},
		{"open quotes", `i=1; mx; spf=pass smtp.mailfrom="x; dmarc=pass header.from=x`, ""},
		{"quotes within a word", `i=1; mx; spf=pass smtp.mailfrom=a"; dmarc=pass header.from=x; "`, ""},
		{"blank after quotes is missing", `i=1; mx; spf=pass smtp.mailfrom="a"b`, ""},
		{"blank after quotes is missing, before a property", `i=1; mx; dmarc=pass reason="x"header.from=a.example`, ""},
		{"bare LF", "i=1; mx; spf=pass\n; dmarc=pass header.from=x", ""},
		{"bare CR", "i=1; mx; spf=pass\r; dmarc=pass header.from=x", ""},
		{"NUL", "i=1; mx; spf=pass \x00; dmarc=pass header.from=x", ""},
		{"result without a word", "i=1; mx; spf; dmarc=pass header.from=x", ""},
		{"result without a method", "i=1; mx; =pass", ""},
		{"blank after the word is missing", "i=1; mx; dmarc=pass@x header.from=x", ""},
		{"property without a value", "i=1; mx; dmarc=pass header.from=", ""},
		{"none among results", "i=1; mx; spf=pass; none", ""},
		{"two words for an id", "i=1; mx my; spf=pass", ""},
		{"deep comments", "i=1; mx; spf=pass " + strings.Repeat("(", 21) + strings.Repeat(")", 21), ""},
		{"too many results", "i=1; mx" + strings.Repeat("; spf=pass", maxResults+1), ""},
		{"too many properties", "i=1; mx; spf=pass" + strings.Repeat(" a.b=c", maxProperties+1), ""},
		{"too long", "i=1; mx; spf=pass a.b=" + strings.Repeat("x", maxAuthResults), ""},
	} {
		got := ""
		r, ok := ParseAuthResults(c.body)
		if ok {
			got = render(r)
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// outside gives what of a body is in no comment and no quoted string, by the plainest of means; ok is false where
// one is not closed.
func outside(body string) (_ string, ok bool) {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '\\' && (quoted || depth > 0):
			i++
		case quoted:
			quoted = c != '"'
		case c == '(':
			depth++
		case depth > 0 && c == ')':
			depth--
		case depth > 0:
		case c == '"':
			quoted = true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), !quoted && depth == 0
}

func FuzzAuthResults(f *testing.F) {
	f.Add(" i=1; mx.example.org; spf=pass (a (b) c) smtp.mailfrom=\"a b\"@c.example;\r\n\tdmarc=pass header.from=c.example\r\n")
	f.Add("i=2; mx 1; dkim=fail reason=\"x; dmarc=pass header.from=y\" header.d=z; arc=none")
	f.Add("i=50; mx; none")
	f.Add("i=1; mx; dmarc/1 (\\)) = pass action=none header . from = \"q\\\"q\"")
	f.Add("i=1; mx; spf=pass smtp.mailfrom=a\"; dmarc=pass header.from=x; \"")
	f.Add("i=1;(;;;")
	f.Fuzz(func(t *testing.T, body string) {
		r, ok := ParseAuthResults(body)
		if !ok {
			return
		}
		if r.Instance < 1 || r.Instance > 99 {
			t.Fatalf("instance %d", r.Instance)
		}
		again, ok := ParseAuthResults(render(r))
		if !ok {
			t.Fatalf("%q is not read again", render(r))
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatalf("read again: %s", diff)
		}
		plain, ok := outside(unfold(body))
		if !ok {
			t.Fatal("a comment or quoted string is not closed")
		}
		// Whatever else a reader makes of the field, it has no more results than semicolons that count.
		if n := strings.Count(plain, ";"); len(r.Results) > n-1 {
			t.Fatalf("%d results of %d semicolons", len(r.Results), n)
		}
		lower := strings.ToLower(plain)
		for _, x := range r.Results {
			if !strings.Contains(lower, x.Method) || !strings.Contains(lower, x.Value) {
				t.Fatalf("%s=%s stands in a comment or in quotes", x.Method, x.Value)
			}
		}
	})
}
