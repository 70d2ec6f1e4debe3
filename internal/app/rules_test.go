package app

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/peertest"
)

// TestStockRulesBesideAllFilters: SpamAssassin's rules load by one line, whatever else runs: no symbol of theirs is another filter's.
func TestStockRulesBesideAllFilters(t *testing.T) {
	files := filepath.Join(filepath.Dir(peertest.File(t, "usr/share/spamassassin/50_scores.cf")), "*.cf")
	text := standard + "filters: [iprev, pregreet, spf, dkim, arc, dmarc, attachments, heuristics, rules: {scores: network, files: [\"" + files + "\"]}]\n"
	j := judgeOf(t, text)
	if n := len(j.base.Symbols()); n < 900 {
		t.Errorf("%d symbols", n)
	}
}

// judgeOf makes the judge of a configuration.
func judgeOf(t *testing.T, text string) *judge {
	t.Helper()
	a, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("test", []byte(text), a.kinds)
	if err != nil {
		t.Fatal(err)
	}
	table, _, err := newTable(cfg)
	if err != nil {
		t.Fatal(err)
	}
	j, err := newJudge(cfg, surroundings{factories: a.factories, ours: table.Ours, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return j
}
