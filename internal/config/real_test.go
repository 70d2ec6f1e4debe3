package config_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/attachments"
	"github.com/postern-mail/postern/internal/config"
)

const head = `hostname: mx.example.org
listeners: {public: {address: ":25"}}
routes: [{to: [example.org], upstream: inside, policy: strict}]
upstreams: {inside: {maildir: /m}}
filters:
  - attachments: `

// TestRealFilter hands options to the attachments filter itself: its own types read themselves, and their
// faults are told at their places.
func TestRealFilter(t *testing.T) {
	for _, tt := range []struct {
		name, options, overlay string
		want                   []string // place and beginning of each fault
	}{
		{"defaults", "{}", "{}", nil},
		{"classes", "{classes: {script: quarantine}, names: {'*.scr': reject}}", "{classes: {script: strip}, keep_original: false}", nil},
		{"unknown action", "{classes: {script: drop}}", "{}", []string{`p:6:37: attachments: action "drop" is unknown`}},
		{"class without action", "{classes: {script: }}", "{}", []string{`p:6:28: attachments: class "script" has no action`}},
		{"unknown class", "{classes: {marco: tag}}", "{}", []string{`p:6:29: attachments: class "marco" is unknown`}},
		{"pattern", "{names: {'a/b': strip, '[': strip}}", "{}", []string{`p:6:27: attachments: pattern "a/b" has a slash`, `p:6:41: attachments: pattern "[" is malformed`}},
		{"bounds", "{archives: {depth: 0}}", "{ambiguous: mend}", []string{"p:6:37: attachments: ", "p:7:56: attachments: "}},
		{"in the overlay", "{}", "{classes: {script: drop}}", []string{`p:7:63: attachments: action "drop" is unknown`}},
		{"not a mapping", "{classes: [script]}", "{}", []string{"p:6:28: must be a mapping, and is a list"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := head + tt.options + "\npolicies: {strict: {filters: {attachments: " + tt.overlay + "}}}\n"
			c, err := config.Parse("p", []byte(text), []string{"attachments"})
			if err != nil {
				t.Fatal(err)
			}
			f := c.Filter("attachments")
			_, _, err = attachments.Factory.New(filter.Env{Name: f.Name, Log: slog.New(slog.DiscardHandler), Ours: func(string) bool { return false }},
				func(v any) error { return f.DecodeFor("strict", v) })
			var got []string
			if err != nil {
				for line := range strings.Lines(err.Error()) {
					if i := strings.Index(line, "p:"); i >= 0 {
						got = append(got, line[i:])
					}
				}
			}
			prefixes := cmp.Comparer(func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) })
			if diff := cmp.Diff(tt.want, got, prefixes); diff != "" {
				t.Errorf("%v\n(-want +got):\n%s", err, diff)
			}
		})
	}
}
