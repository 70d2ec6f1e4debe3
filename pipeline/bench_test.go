package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// tenStages is a plan of ten filters, two of which depend on others, over a message of 4 KB.
func tenStages(b *testing.B) (*Plan, *filter.Input) {
	lines := []string{"dmarc data needs=f0,f1 gives=g", "sum data wants=g"}
	for i := range 8 {
		lines = append(lines, fmt.Sprintf("s%d data gives=f%d", i, i))
	}
	stages := parse(b, lines...)
	for i := range stages {
		stages[i].Symbols = []filter.Symbol{{Name: "X", Weight: 1}}
		stages[i].Filter = says(found("X", 0.5, "detail"), nil)
	}
	in := input(b, "Subject: x\n\n"+strings.Repeat("some text of a message\n", 170))
	return mustCompile(b, stages), in
}

func BenchmarkRun(b *testing.B) {
	p, in := tenStages(b)
	b.ReportAllocs()
	for b.Loop() {
		if rs := p.Run(b.Context(), filter.Data, in); len(rs) != 10 || rs[9].Outcome != Match {
			b.Fatal(outcomes(rs))
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	p, in := tenStages(b)
	rs := p.Run(b.Context(), filter.Data, in)
	policy := &Policy{Tag: ptr(5.0), Reject: ptr(15.0), Weights: map[string]float64{"X": 1.5}}
	b.ReportAllocs()
	for b.Loop() {
		if v := policy.Decide(rs); v.Action != filter.Tag {
			b.Fatal(v)
		}
	}
}

func BenchmarkStamp(b *testing.B) {
	in := input(b, strings.Repeat("Received: from a by b\n", 10)+"Authentication-Results: (x) other.example 1; spf=pass\nSubject: x\n\n")
	in.Transaction.Record(spfPass, dkimNone)
	o := StampOptions{AuthservID: "mx.example.org", Score: true, Plan: mustCompile(b, parse(b, "spf mail gives=spf", "dkim data gives=dkim"))}
	b.ReportAllocs()
	var edits []mail.Edit
	for b.Loop() {
		edits = Stamp(Verdict{}, in, o)
	}
	if len(edits) != 3 {
		b.Fatal(edits)
	}
}
