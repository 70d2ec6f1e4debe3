package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// many writes a line for each number below n.
func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i)
	}
	return b.String()
}

// alternatives is a message of a text and a page.
func alternatives(plain, html string) string {
	return "From: a@b.example\nContent-Type: multipart/alternative; boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\n" + plain +
		"\n--b\nContent-Type: text/html\n\n" + html + "\n--b--\n"
}

// TestDecoys: what stands beside a lure, however much it is, does not hide it.
func TestDecoys(t *testing.T) {
	lure := `<html><body>Please <a href="http://paypal.evil.example/x">look</a></body></html>`
	set := defaultSet(t)
	for name, m := range map[string]struct{ message, rule string }{
		"a text of 600 links":           {alternatives(many(600, "http://www%d.example.org/"), lure), "P_BRAND_LINK"},
		"a text of 6000 links":          {alternatives(many(6000, "http://a.example/%d"), lure), "P_BRAND_LINK"},
		"a text of 6000 hosts":          {alternatives(many(6000, "http://a%d.example/"), lure), "P_BRAND_LINK"},
		"a page of 6000 links, another": {alternatives("", many(6000, `<a href="http://a.example/%d">x</a>`)+"\n--b\nContent-Type: text/html\n\n"+lure), "P_BRAND_LINK"},
	} {
		t.Run(name, func(t *testing.T) {
			if !hits(runDefault(t, set, readCase(t, []byte(m.message))), m.rule) {
				t.Errorf("%s does not hit", m.rule)
			}
		})
	}
}

func hits(r Result, name string) bool {
	for _, h := range r.Hits {
		if h.Rule.Name == name {
			return true
		}
	}
	return false
}

// TestHostsLeftOut: where there are more hosts than are looked at, that is said.
func TestHostsLeftOut(t *testing.T) {
	set := defaultSet(t)
	for n, cut := range map[int]bool{900: false, 1100: true} {
		c := mail.NewContent(mail.NewBlob(readCase(t, []byte("From: a@b.example\n\n"+many(n, "http://a%d.example/"))).octets), mail.LineFaults{}, mail.Limits{})
		m := &eval.Mail{Text: text.Of(c, set.Settings().Text())}
		if _, err := set.Run(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if got := m.Text.Cut()&text.CutLinks != 0; got != cut {
			t.Errorf("%d hosts: links cut: %v", n, got)
		}
		c.Release()
	}
}
