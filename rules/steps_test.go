package rules

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// endless is a pattern, and text on which it reaches its limit.
const endless = `/^(?:(\w+)\1?)+(?!;);/`

var endlessText = strings.Repeat("ab", 30) + ";\n"

// TestUnknown: what rules that gave up may come to is told, with the metas that hang on them.
func TestUnknown(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		want        float64
	}{
		{"a rule that counts", "rawbody R " + endless + "\nscore R 2.5", 2.5},
		{"a rule that speaks for the message", "rawbody R " + endless + "\nscore R -2.5", 0},
		{"one that serves others", "rawbody __R " + endless + "\nmeta A __R && !B\nscore A 3\nbody B /zz/", 3},
		{"by way of others", "rawbody __R " + endless + "\nmeta __A __R\nmeta __B __A || __C\nbody __C /zz/\nmeta D __B\nscore D 4\nmeta E !__B\nscore E -1.5\nmeta F !__B\nscore F 1", 5.5},
		{"a field that does not match", "header R Subject !~ " + endless + "\nscore R 2", 2},
		{"a meta that hit all the same", "rawbody __R " + endless + "\nmeta A __R || B\nscore A 3\nbody B /ab/", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := runOn(t, mustLoad(t, c.rules), "Subject: "+endlessText+"\n"+endlessText)
			if len(res.GaveUp) != 1 || res.Unknown != c.want || res.Ended {
				t.Errorf("gave up: %v, may count %v, not %v", ruleList(res.GaveUp), res.Unknown, c.want)
			}
		})
	}
	if res := runOn(t, mustLoad(t, "body A /a/\nscore A 2"), letter); res.Unknown != 0 || res.Ended {
		t.Errorf("where none gave up: %v", res)
	}
}

// TestEnded: many patterns that go on without end spend what a message may cost. All that have not been looked for are named.
func TestEnded(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "rawbody R%d %s\n", i, strings.Replace(endless, "^", fmt.Sprintf("^(?!x{%d})", i+1), 1))
	}
	b.WriteString("full LAST /nothing like this/\nfull B /q[0-9]\\W/\nfull C /[xyz]{3}\\d/")
	res := runOn(t, mustLoad(t, b.String()), "Subject: x\n\n"+endlessText)
	if !res.Ended || len(res.GaveUp) != 63 {
		t.Errorf("%d gave up, ended: %v", len(res.GaveUp), res.Ended)
	}
}

// TestOneLimitForARule: what a rule spends is bounded for a message, not for each paragraph or link.
func TestOneLimitForARule(t *testing.T) {
	// A paragraph takes some thousands of steps, below the limit.
	paragraph := strings.Repeat("ab", 6) + ";\n\n"
	const pattern = `/(?:(\w+)\1?)+(?!;);/`
	for _, c := range []struct{ name, rules string }{
		{"counted", "body R " + pattern + "\ntflags R multiple"},
		{"beside others", "body R " + pattern + "\nbody A /q[0-9]\\W/\nbody B /[xyz]{3}\\d/\nbody C /y[^a]z/"},
		{"captured", "body R /(?<ABC>x)|(?:(\\w+)\\2?)+(?!;);/\nbody S /%{ABC}/"},
		{"with what was captured", "header __S Subject =~ /(?<ABC>.+)/\nbody R /(?:(\\w+)\\1?)+(?!;);|%{ABC}%{ABC}/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustLoad(t, c.rules)
			few := runOn(t, s, "Subject: z\n\n"+paragraph)
			if len(few.GaveUp) > 0 {
				t.Fatal("one paragraph is too much")
			}
			many := runOn(t, s, "Subject: z\n\n"+strings.Repeat(paragraph, 400))
			want := "R"
			if c.name == "captured" { // whether S hits is not known either
				want = "R S"
			}
			var names []string
			for _, g := range many.GaveUp {
				names = append(names, g.Name)
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("gave up: %s", got)
			}
		})
	}
}

// TestCountedWhereItGivesUp: a rule that counts has hit where a set has found it, though the count gives up before it comes to that place;
// and how often it hits is not known.
func TestCountedWhereItGivesUp(t *testing.T) {
	for _, c := range []struct{ name, of, message string }{
		{"body", "body %s ", "Subject: x\n\n" + strings.Repeat("a", 60) + " ab ab\n"},
		{"a field of parts", "mimeheader %s Content-Type =~ ", "Subject: x\nContent-Type: text/plain; x=" + strings.Repeat("a", 60) + "; y=ab\n\nx\n"},
	} {
		var b strings.Builder
		for name, pattern := range map[string]string{"R": "/(?:a|aa)+b/", "__A": `/q[0-9]\W/`, "__B": `/[xyz]{3}\d/`, "__C": "/y[^a]z/"} {
			fmt.Fprintf(&b, c.of+pattern+"\n", name)
		}
		b.WriteString("tflags R multiple maxhits=4\nmeta M R > 1\nscore M 3\n")
		res := runOn(t, mustLoad(t, b.String()), c.message)
		if len(res.Hits) != 1 || res.Hits[0].Rule.Name != "R" || res.Hits[0].Count != 1 || res.Score != 1 {
			t.Errorf("%s: %v, score %v", c.name, res.Hits, res.Score)
		}
		if got := strings.Join(ruleList(res.GaveUp), " "); got != "R" || res.Unknown != 6 { // three hits more, and the meta
			t.Errorf("%s: gave up: %s, may count %v", c.name, got, res.Unknown)
		}
	}
}

// TestMeasure: each rule has the work that a message has, whatever those before it took, and those that gave up are told.
func TestMeasure(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "rawbody R%d %s\n", i, strings.Replace(endless, "^", fmt.Sprintf("^(?!x{%d})", i+1), 1))
	}
	fmt.Fprintf(&b, "mimeheader PART X-Endless =~ %s\nmimeheader PARTS X-Endless =~ %[1]s\ntflags PARTS concat\n", endless)
	fmt.Fprintf(&b, "mimeheader SECOND X-Endless =~ %s\ntflags SECOND range=2\n", endless) // there is no such part
	b.WriteString("rawbody LAST /;/")
	s := mustLoad(t, b.String())
	gave, last, parts := 0, false, ""
	err := s.Measure(t.Context(), mailOf(t, "Subject: x\nX-Endless: "+endlessText+"\n"+endlessText), func(r *Rule, took time.Duration, gaveUp bool) {
		if gaveUp {
			gave++
		}
		if r.Class == MIMEHeader {
			parts += fmt.Sprint(r.Name, " ", gaveUp, "; ")
		}
		if last = r.Name == "LAST"; last && gaveUp {
			t.Error("the last one gave up")
		}
	})
	if err != nil || gave != 62 || !last {
		t.Errorf("%v, %d gave up, the last one ran: %v", err, gave, last)
	}
	if want := "PART true; PARTS true; SECOND false; "; parts != want {
		t.Errorf("of fields of parts: %s not %s", parts, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Measure(ctx, mailOf(t, "Subject: x\n\n"+endlessText), func(*Rule, time.Duration, bool) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
