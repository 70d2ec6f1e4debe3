package heuristics

import (
	"bytes"
	"fmt"
	"maps"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// hamBound is the share of honest mail that may reach the tag threshold by this filter alone.
const hamBound = 0.001

// TestCorpora runs the data phase over old and new mail: honest mail must stay low. What spam scores is told, not asked
// for. Each message is judged as of the moment of its topmost Received field, or else of the day that the corpus's
// manifest gives, which is that of its own Date field and so can find nothing amiss with it.
func TestCorpora(t *testing.T) {
	folder := peertest.Shared(t, "suites/spam")
	for _, c := range []struct {
		name string
		ham  bool
	}{
		{"spamassassin-ham", true},
		{"csdmc2010-new-ham", true},
		{"spamassassin-spam", false},
		{"csdmc2010-new-spam", false},
		{"nazario-phish-2004-2005", false},
		{"phishing_pot-2022-2025H1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := measure(t, filepath.Join(folder, c.name))
			t.Log(d)
			if d.messages < 300 {
				t.Errorf("only %d messages", d.messages)
			}
			if c.ham && float64(d.over[5]) > hamBound*float64(d.messages) {
				t.Errorf("%d of %d honest messages score 5 or more", d.over[5], d.messages)
			}
			if c.ham && d.total/float64(d.messages) > 0.1 {
				t.Errorf("honest mail scores %.2f on average", d.total/float64(d.messages))
			}
		})
	}
}

// distribution is how the scores of a corpus lie.
type distribution struct {
	messages int
	total    float64
	over     map[int]int // messages with at least this score
	symbols  map[string]int
	worst    []string
}

func (d distribution) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d messages, average %.2f;", d.messages, d.total/float64(d.messages))
	for _, n := range []int{1, 2, 3, 4, 5, 6} {
		fmt.Fprintf(&b, " >=%d: %.2f%%", n, 100*float64(d.over[n])/float64(d.messages))
	}
	for _, s := range slices.Sorted(maps.Keys(d.symbols)) {
		fmt.Fprintf(&b, "\n  %-22s %5d  %5.2f%%", s, d.symbols[s], 100*float64(d.symbols[s])/float64(d.messages))
	}
	for _, w := range d.worst {
		b.WriteString("\n  " + w)
	}
	return b.String()
}

func measure(t *testing.T, base string) distribution {
	t.Helper()
	days := sentOn(t, base+".tsv")
	d := distribution{over: map[int]int{}, symbols: map[string]int{}}
	spec, f := build(t, filter.Env{}, config{SenderDomain: senderReject})
	for name, raw := range peertest.Packed(t, base+".tar.gz") {
		c := mail.NewContent(mail.NewBlob(canonical(raw)), mail.LineFaults{}, mail.Limits{})
		in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{Began: arrival(c.Header(), days[name])}, Content: c}
		got, err := f.Check(t.Context(), in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.Release()
		score, why := 0.0, ""
		for _, x := range got.Findings {
			w := weight(t, spec, x.Symbol) * x.Strength
			score += w
			d.symbols[x.Symbol]++
			why += fmt.Sprintf(" %s=%.1f", x.Symbol, w)
		}
		d.messages++
		d.total += score
		for n := 1; n <= 6; n++ {
			if score >= float64(n) {
				d.over[n]++
			}
		}
		if score >= 4 && len(d.worst) < 12 && strings.Contains(base, "ham") {
			d.worst = append(d.worst, fmt.Sprintf("%.1f %s%s", score, name, why))
		}
	}
	return d
}

// arrival gives the time in the topmost Received field.
func arrival(h *mail.Header, otherwise time.Time) time.Time {
	received := h.Get("Received")
	at, err := netmail.ParseDate(strings.TrimSpace(received[strings.LastIndexByte(received, ';')+1:]))
	if err != nil {
		return otherwise
	}
	return at
}

func weight(t *testing.T, spec filter.Spec, symbol string) float64 {
	t.Helper()
	i := slices.IndexFunc(spec.Symbols, func(s filter.Symbol) bool { return s.Name == symbol })
	if i < 0 {
		t.Fatalf("%s is not declared", symbol)
	}
	return spec.Symbols[i].Weight
}

// sentOn reads the day of each message from a corpus's manifest: path, label, octets, day.
func sentOn(t *testing.T, path string) map[string]time.Time {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	days := map[string]time.Time{}
	for line := range strings.Lines(string(b)) {
		col := strings.Split(line, "\t")
		if len(col) < 4 {
			continue
		}
		if day, err := time.Parse("2006-01-02", col[3]); err == nil {
			days[col[0]] = day.Add(12 * time.Hour)
		}
	}
	return days
}

// canonical gives a message the line ends that it has on the wire.
func canonical(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}
