package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// stockFiles gives the rules of the SpamAssassin that scripts/peers unpacks.
func stockFiles(t testing.TB) []Source {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(peertest.Root(t), "usr/share/spamassassin/[0-9]*.cf"))
	if err != nil || len(names) == 0 {
		peertest.Missing(t, "POSTERN_PEERS", "SpamAssassin's rules")
	}
	var all []Source
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Source{Name: filepath.Base(n), Octets: b})
	}
	return all
}

func TestStockRulesLoad(t *testing.T) {
	files := stockFiles(t)
	began := time.Now()
	s, problems, err := Load(files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rules in %v, %d problems", len(s.Rules()), time.Since(began), len(problems))
	count := map[Class]int{}
	for _, r := range s.Rules() {
		count[r.Class]++
	}
	t.Log(count)
	for _, p := range problems {
		if p.Severity == Fault {
			t.Log(p)
		}
	}
}

// TestStockNetworkRules: of the stock rules that ask the DNS all are understood but those about name servers.
func TestStockNetworkRules(t *testing.T) {
	s, problems, err := Load(stockFiles(t), Options{Network: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if r := s.Rule(p.Rule); r != nil && r.Class == Network && !strings.Contains(p.What, "name servers") {
			t.Error(p)
		}
	}
	if n := len(s.network); n < 60 {
		t.Errorf("%d rules ask the DNS", n)
	}
}
