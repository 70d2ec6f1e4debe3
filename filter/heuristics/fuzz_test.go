package heuristics

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// FuzzMessage throws octets at the data phase: no panic, no error, no proposal, each symbol declared and found once,
// with a bounded detail.
func FuzzMessage(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, x := range ar.Files {
			if strings.HasSuffix(x.Name, ".eml") {
				f.Add(canonical(x.Data))
			}
		}
	}
	f.Add([]byte("From: \"a@b.example\" <x@y.example>, \"c@d.example\" <x@y.example>\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		spec, check := build(t, filter.Env{Ours: func(string) bool { return true }}, config{SenderDomain: senderReject})
		in := input(t, circumstances(t, "from: a@example.org\nspf: none\ndkim: none\n"))
		in.Content = mail.NewContent(mail.NewBlob(slices.Clone(raw)), mail.LineFaults{}, mail.Limits{})
		defer in.Content.Release()
		got, err := check.Check(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, x := range got.Findings {
			weight(t, spec, x.Symbol)
			if seen[x.Symbol] || x.Strength <= 0 || len(x.Detail) > detailLimit+len("…") {
				t.Fatalf("finding %+v", x)
			}
			seen[x.Symbol] = true
		}
		if got.Propose != filter.Continue || got.Reply != nil {
			t.Fatalf("proposes %+v", got)
		}
	})
}
