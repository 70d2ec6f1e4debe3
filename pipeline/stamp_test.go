package pipeline

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// render writes edits as the lines they put on a message, and the fields they remove.
func render(c *mail.Content, edits []mail.Edit) string {
	var b strings.Builder
	for _, e := range edits {
		switch e := e.(type) {
		case mail.AddField:
			b.WriteString("+" + e.Name + ": " + strings.ReplaceAll(e.Body, "\r\n", "\n") + "\n")
		case mail.RemoveField:
			f := c.Header().Fields()[e.Index]
			b.WriteString("-" + strings.ReplaceAll(f.Raw, "\r\n", "\n"))
		case mail.ReplaceField:
			b.WriteString("=" + c.Header().Fields()[e.Index].Name + ": " + strings.ReplaceAll(e.Body, "\r\n", "\n") + "\n")
		default:
			b.WriteString("?" + e.String() + "\n")
		}
	}
	return b.String()
}

const ourID = "mx.example.org"

var (
	spfPass  = auth.SPF.Of(auth.SPFResult{Result: auth.Pass, Domain: "y.example", Identity: "mailfrom", Sender: "x@y.example"})
	dkimNone = auth.DKIM.Of(nil)
)

func TestStamp(t *testing.T) {
	const received = "Received: from a\nSubject: hi\n\nbody\n"
	const forged = "X-Spam-Flag: NO\nX-SPAM-Status: No, score=-99\nx-spam-score : -99\nX-Spam-Level:\nX-Spam-Checker-Version: 1\n" +
		"X-Postern-Id: 1\nX-MS-Exchange-Organization-SCL: -1\nX-MS-Exchange-Forest-RulesExecuted: x\nX-MS-Has-Attach: yes\n" +
		"Authentication-Results: mx.example.org; dkim=pass\nAuthentication-Results: other.example; dkim=pass\nSubject: hi\n\nbody\n"
	const marks = "+X-Spam-Flag: YES\n+X-Spam-Status: Yes, score=5.1 required=5.0 tests=A,B\n+X-Spam-Score: 5.1\n+X-Spam-Level: *****\n"
	thresholds := &Policy{Tag: ptr(5.0), Reject: ptr(15.0)}
	subject := &Policy{Tag: ptr(5.0), Reject: ptr(15.0), Subject: "[SPAM]"}
	tagged := Verdict{Action: filter.Tag, Score: 5.14, Findings: []StageFinding{
		{Finding: filter.Finding{Symbol: "A", Strength: 1}},
		{Finding: filter.Finding{Symbol: "B", Strength: 1}},
		{Finding: filter.Finding{Symbol: "A", Strength: 1}},
		{Finding: filter.Finding{Symbol: "SEEN", Strength: 1}, Observed: true},
		{Finding: filter.Finding{Symbol: "MENTION"}},
		{Finding: filter.Finding{Strength: 1}},
	}}
	untold := strings.Replace(marks, "tests=A,B", "tests=none", 1)
	changed := func(edits ...mail.Edit) Verdict { return Verdict{Action: filter.Tag, Score: 5.14, Edits: edits} }
	var many Verdict
	for _, s := range []string{"ALPHA_SYMBOL", "BETA_SYMBOL", "GAMMA_SYMBOL", "DELTA_SYMBOL", "EPSILON_SYMBOL", "ZETA_SYMBOL"} {
		many.Findings = append(many.Findings, StageFinding{Finding: filter.Finding{Symbol: s, Strength: 1}})
	}
	many.Score = -0.24
	for _, c := range []struct {
		name    string
		text    string
		facts   []filter.Fact
		relay   bool
		verdict Verdict
		options StampOptions
		noPlan  bool
		want    string
	}{
		{name: "empty plan", text: forged, noPlan: true, verdict: tagged, options: StampOptions{AuthservID: "mx.example.org", Score: true}},
		{
			name: "results and score", text: received, facts: []filter.Fact{spfPass, dkimNone}, verdict: tagged,
			options: StampOptions{AuthservID: "mx.example.org", Score: true, Policy: thresholds},
			want: "+Authentication-Results: mx.example.org;\n\tspf=pass smtp.mailfrom=y.example;\n\tdkim=none\n" +
				"+X-Spam-Flag: YES\n+X-Spam-Status: Yes, score=5.1 required=5.0 tests=A,B\n+X-Spam-Score: 5.1\n+X-Spam-Level: *****\n",
		},
		{
			name: "clean", text: received, options: StampOptions{AuthservID: "mx.example.org", Score: true, Policy: thresholds},
			want: "+Authentication-Results: mx.example.org; none\n+X-Spam-Status: No, score=0.0 required=5.0 tests=none\n+X-Spam-Score: 0.0\n",
		},
		{
			name: "not quite the threshold", text: received, verdict: Verdict{Score: 4.999}, options: StampOptions{Score: true, Policy: thresholds},
			want: "+X-Spam-Status: No, score=4.9 required=5.0 tests=none\n+X-Spam-Score: 4.9\n+X-Spam-Level: ****\n",
		},
		{
			name: "next to nothing below zero", text: received, verdict: Verdict{Score: -0.001}, options: StampOptions{Score: true, Policy: thresholds},
			want: "+X-Spam-Status: No, score=0.0 required=5.0 tests=none\n+X-Spam-Score: 0.0\n",
		},
		{
			name: "no thresholds, folded", text: received, verdict: many, options: StampOptions{Score: true},
			want: "+X-Spam-Status: No, score=-0.2 tests=ALPHA_SYMBOL,BETA_SYMBOL,GAMMA_SYMBOL,\n\tDELTA_SYMBOL,EPSILON_SYMBOL,ZETA_SYMBOL\n+X-Spam-Score: -0.2\n",
		},
		{
			name: "stars end", text: received, verdict: Verdict{Score: 1e9}, options: StampOptions{Score: true},
			want: "+X-Spam-Status: No, score=1000000000.0 tests=none\n+X-Spam-Score: 1000000000.0\n+X-Spam-Level: " + strings.Repeat("*", 50) + "\n",
		},
		{
			name: "forged fields", text: forged, options: StampOptions{AuthservID: "mx.example.org", Score: true},
			want: "+Authentication-Results: mx.example.org; none\n+X-Spam-Status: No, score=0.0 tests=none\n+X-Spam-Score: 0.0\n" +
				"-X-Spam-Flag: NO\n-X-SPAM-Status: No, score=-99\n-x-spam-score : -99\n-X-Spam-Level:\n" +
				"-X-Postern-Id: 1\n-X-MS-Exchange-Organization-SCL: -1\n-X-MS-Exchange-Forest-RulesExecuted: x\n-Authentication-Results: mx.example.org; dkim=pass\n",
		},
		{
			name: "score fields are not ours", text: forged, options: StampOptions{},
			want: "-X-Postern-Id: 1\n-X-MS-Exchange-Organization-SCL: -1\n-X-MS-Exchange-Forest-RulesExecuted: x\n",
		},
		{name: "relay client", text: forged, relay: true, options: StampOptions{}, want: "-X-Postern-Id: 1\n"},
		{
			name: "a word before the subject", text: received, verdict: tagged, options: StampOptions{Score: true, Policy: subject},
			want: marks + "=Subject: [SPAM] hi\n",
		},
		{
			name: "a word before a subject that a filter has changed", text: received,
			verdict: Verdict{Action: filter.Tag, Score: 5.14, Edits: []mail.Edit{mail.ReplaceField{Index: 0, Body: "x"}, mail.ReplaceField{Index: 1, Body: "[EXT] hi"}, mail.ReplaceField{Index: 1, Body: "y"}}},
			options: StampOptions{Score: true, Policy: subject}, want: untold + "=Subject: [SPAM] [EXT] hi\n=Received: x\n=Subject: [EXT] hi\n=Subject: y\n",
		},
		{
			name: "a word before a subject that a filter has added", text: "Received: from a\n\nbody\n", verdict: changed(mail.AddField{Name: "X-A", Body: "b"}, mail.AddField{Name: "subject", Body: "y"}),
			options: StampOptions{Score: true, Policy: subject}, want: untold + "+X-A: b\n+subject: [SPAM] y\n",
		},
		{
			name: "a word before a subject that a filter has put in the place of another", text: received, verdict: changed(mail.RemoveField{Index: 1}, mail.AddField{Name: "Subject", Body: "y"}),
			options: StampOptions{Score: true, Policy: subject}, want: untold + "-Subject: hi\n+Subject: [SPAM] y\n",
		},
		{
			name: "a word before an added subject that has it", text: received, verdict: changed(mail.RemoveField{Index: 1}, mail.AddField{Name: "Subject", Body: "[SPAM] y"}),
			options: StampOptions{Score: true, Policy: subject}, want: untold + "-Subject: hi\n+Subject: [SPAM] y\n",
		},
		{
			name: "a word before no subject, as a filter has taken it off", text: received, verdict: changed(mail.RemoveField{Index: 1}),
			options: StampOptions{Score: true, Policy: subject}, want: untold + "+Subject: [SPAM]\n-Subject: hi\n",
		},
		{
			name: "score fields that a filter has rewritten, added, taken off", text: forged,
			verdict: changed(mail.ReplaceField{Index: 0, Body: "YES"}, mail.AddField{Name: "X-Spam-Status", Body: "Yes"}, mail.RemoveField{Index: 3}, mail.ReplaceField{Index: 5, Body: "2"}),
			options: StampOptions{Score: true, Policy: thresholds},
			want: untold + "-X-SPAM-Status: No, score=-99\n-x-spam-score : -99\n-X-Spam-Level:\n-X-Postern-Id: 1\n-X-MS-Exchange-Organization-SCL: -1\n-X-MS-Exchange-Forest-RulesExecuted: x\n" +
				"=X-Spam-Flag: YES\n+X-Spam-Status: Yes\n-X-Spam-Level:\n=X-Postern-Id: 2\n",
		},
		{
			name: "what filters change, without a plan", text: received, noPlan: true, verdict: changed(mail.RemoveField{Index: 1}), options: StampOptions{Exchange: true},
			want: "-Subject: hi\n",
		},
		{
			name: "a word before no subject", text: "Received: from a\n\nbody\n", verdict: tagged, options: StampOptions{Score: true, Policy: subject},
			want: marks + "+Subject: [SPAM]\n",
		},
		{
			name: "the word is there", text: "Subject: Re: [SPAM] hi\n\nbody\n", verdict: tagged, options: StampOptions{Score: true, Policy: subject},
			want: marks,
		},
		{
			name: "no word on what is clean", text: received, options: StampOptions{Score: true, Policy: subject},
			want: "+X-Spam-Status: No, score=0.0 required=5.0 tests=none\n+X-Spam-Score: 0.0\n",
		},
		{
			name: "no word by an observing policy", text: received, verdict: tagged,
			options: StampOptions{Score: true, Policy: &Policy{Observe: true, Subject: "[SPAM]"}},
		},
		{
			name: "observing policy", text: forged, verdict: tagged, options: StampOptions{AuthservID: "mx.example.org", Score: true, Policy: &Policy{Observe: true}},
			want: "+Authentication-Results: mx.example.org; none\n-Authentication-Results: mx.example.org; dkim=pass\n",
		},
		{
			name: "a blank before the first field", text: " Authentication-Results: mx.example.org; dkim=pass\nSubject: x\n\n", options: StampOptions{AuthservID: "mx.example.org"},
			want: "+Authentication-Results: mx.example.org; none\n- Authentication-Results: mx.example.org; dkim=pass\n",
		},
		{
			name: "Received-SPF", text: "Received-SPF: pass (other)\nSubject: x\n\n", options: StampOptions{AuthservID: "mx.example.org"},
			facts: []filter.Fact{auth.SPF.Of(auth.SPFResult{Result: auth.Pass, Received: "pass (mx.example.org: a)\r\n\tclient-ip=192.0.2.1"})},
			want:  "+Authentication-Results: mx.example.org;\n\tspf=pass\n+Received-SPF: pass (mx.example.org: a)\n\tclient-ip=192.0.2.1\n",
		},
		{
			name: "fields of other names", text: "Authentication-Results: a.example; x\nAuthentication-Results: b.example; x\nSubject: x\n\n",
			options: StampOptions{AuthservID: "mx.example.org", Keep: []string{"b.example"}},
			want:    "+Authentication-Results: mx.example.org; none\n-Authentication-Results: a.example; x\n",
		},
		{
			name: "to Exchange, a little over the threshold", text: forged, verdict: tagged, options: StampOptions{Score: true, Exchange: true, Policy: thresholds},
			want: "+X-Spam-Flag: YES\n+X-Spam-Status: Yes, score=5.1 required=5.0 tests=A,B\n+X-Spam-Score: 5.1\n+X-Spam-Level: *****\n" +
				"+X-MS-Exchange-Organization-SCL: 5\n-X-Spam-Flag: NO\n-X-SPAM-Status: No, score=-99\n-x-spam-score : -99\n-X-Spam-Level:\n" +
				"-X-Postern-Id: 1\n-X-MS-Exchange-Organization-SCL: -1\n-X-MS-Exchange-Forest-RulesExecuted: x\n",
		},
		{
			name: "to Exchange, half way to a refusal", text: received, verdict: Verdict{Action: filter.Tag, Score: 10}, options: StampOptions{Score: true, Exchange: true, Policy: thresholds},
			want: "+X-Spam-Flag: YES\n+X-Spam-Status: Yes, score=10.0 required=5.0 tests=none\n+X-Spam-Score: 10.0\n+X-Spam-Level: **********\n+X-MS-Exchange-Organization-SCL: 6\n",
		},
		{
			name: "to Exchange, marked without thresholds", text: received, verdict: Verdict{Action: filter.Tag, Score: 1}, options: StampOptions{Score: true, Exchange: true},
			want: "+X-Spam-Flag: YES\n+X-Spam-Status: Yes, score=1.0 tests=none\n+X-Spam-Score: 1.0\n+X-Spam-Level: *\n+X-MS-Exchange-Organization-SCL: 5\n",
		},
		{
			name: "to Exchange, clean", text: received, options: StampOptions{Score: true, Exchange: true, Policy: thresholds},
			want: "+X-Spam-Status: No, score=0.0 required=5.0 tests=none\n+X-Spam-Score: 0.0\n",
		},
		{
			name: "to Exchange, of a relay client", text: forged, relay: true, verdict: tagged, options: StampOptions{Score: true, Exchange: true, Policy: thresholds},
			want: "+X-Spam-Flag: YES\n+X-Spam-Status: Yes, score=5.1 required=5.0 tests=A,B\n+X-Spam-Score: 5.1\n+X-Spam-Level: *****\n" +
				"-X-Spam-Flag: NO\n-X-SPAM-Status: No, score=-99\n-x-spam-score : -99\n-X-Spam-Level:\n-X-Postern-Id: 1\n",
		},
		{
			name: "to Exchange, observing", text: forged, verdict: tagged, options: StampOptions{Score: true, Exchange: true, Policy: &Policy{Observe: true}},
			want: "-X-MS-Exchange-Organization-SCL: -1\n-X-MS-Exchange-Forest-RulesExecuted: x\n",
		},
		{
			name: "to Exchange, without filters", text: forged, noPlan: true, verdict: tagged, options: StampOptions{Score: true, Exchange: true},
			want: "-X-MS-Exchange-Organization-SCL: -1\n-X-MS-Exchange-Forest-RulesExecuted: x\n",
		},
		{name: "to Exchange, of a relay client without filters", text: forged, relay: true, noPlan: true, options: StampOptions{Exchange: true}},
		{name: "other letters that fold to ours", text: "X-Po\u017ftern-Id: 1\nSubject: x\n\n", options: StampOptions{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(t, c.text)
			in.Session.Relay = c.relay
			in.Transaction.Record(c.facts...)
			if !c.noPlan {
				c.options.Plan = mustCompile(t, parse(t, "spf mail gives=spf", "dkim data gives=dkim"))
			}
			edits := Stamp(c.verdict, in, c.options)
			if diff := cmp.Diff(c.want, render(in.Content, edits)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if _, err := mail.Rewrite(in.Content, edits, false); err != nil {
				t.Errorf("can't be carried out: %v", err)
			}
		})
	}
}

// TestStampedFields: of a field that the sender wrote, a filter changed and we write, ours stands on top and the filter's below.
// TestManySymbols: a list that is cut says so, and one that just fits does not.
func TestManySymbols(t *testing.T) {
	for n, end := range map[int]string{100: ",S98,S99", 101: ",S98,S99,...", 300: ",S98,S99,..."} {
		var v Verdict
		for i := range n {
			v.Findings = append(v.Findings, StageFinding{Finding: filter.Finding{Symbol: fmt.Sprintf("S%d", i), Strength: 1}})
		}
		got := strings.Join(strings.Fields(spamStatus(v, nil, false)), "")
		if !strings.HasSuffix(got, end) {
			t.Errorf("%d symbols end with %s, want %s", n, got[max(0, len(got)-20):], end)
		}
	}
}

func TestStampedFields(t *testing.T) {
	in := input(t, "X-Spam-Flag: NO\nX-Spam-Status: No\nX-Spam-Flag: NO\nSubject: a\n\nbody\n")
	v := Verdict{Action: filter.Tag, Score: 5, Edits: []mail.Edit{mail.AddField{Name: "X-Spam-Status", Body: "Yes, hits=7"}, mail.ReplaceField{Index: 0, Body: "YES"}}}
	got := rewrittenBy(t, in.Content, Stamp(v, in, StampOptions{Score: true, Plan: mustCompile(t, parse(t, "a data"))}))
	want := "X-Spam-Flag: YES\r\nX-Spam-Status: Yes, score=5.0 tests=none\r\nX-Spam-Score: 5.0\r\nX-Spam-Level: *****\r\n" +
		"X-Spam-Status: Yes, hits=7\r\nX-Spam-Flag: YES\r\nSubject: a\r\n\r\nbody\r\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestPlanThatAuthenticatesNothing(t *testing.T) {
	in := input(t, "Authentication-Results: mx.example.org; dkim=pass\nSubject: x\n\n")
	edits := Stamp(Verdict{}, in, StampOptions{AuthservID: "mx.example.org", Plan: mustCompile(t, parse(t, "a data"))})
	if got, want := render(in.Content, edits), "-Authentication-Results: mx.example.org; dkim=pass\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStampedMessage(t *testing.T) {
	in := input(t, "X-Postern-Id: 1\nSubject: hi\n\nbody\n")
	in.Transaction.Record(spfPass)
	m, err := mail.Rewrite(in.Content, Stamp(Verdict{}, in, StampOptions{AuthservID: "mx.example.org", Score: true, Plan: mustCompile(t, parse(t, "spf mail gives=spf"))}), false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	r := m.Open()
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll("Authentication-Results: mx.example.org;\n\tspf=pass smtp.mailfrom=y.example\nX-Spam-Status: No, score=0.0 tests=none\nX-Spam-Score: 0.0\nSubject: hi\n\nbody\n", "\n", "\r\n")
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestUntrusted takes off what only we, or the servers inside, may have written, and nothing else.
func TestUntrusted(t *testing.T) {
	const text = "Authentication-Results: mx.example.org; dkim=pass\nAuthentication-Results: other.example; spf=pass\n" +
		"X-Spam-Flag: NO\nX-Postern-Trusted: yes\nX-MS-Exchange-Organization-SCL: -1\nX-Mailer: m\nSubject: s\n\nbody\n"
	in := input(t, text)
	m, err := mail.Rewrite(in.Content, Untrusted(in.Content.Header(), "mx.example.org", nil), false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	var out strings.Builder
	if _, err := m.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll("Authentication-Results: other.example; spf=pass\nX-Mailer: m\nSubject: s\n\nbody\n", "\n", "\r\n")
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// TestForgedAboveOurs: our field stands below an mbox line, and nothing that may be taken for a field stands above it.
func TestForgedAboveOurs(t *testing.T) {
	in := input(t, "From a@b.example Mon Jan  1 00:00:00 2024\n Authentication-Results: "+ourID+"; dmarc=pass\nSubject: a\n\nbody\n")
	edits := append([]mail.Edit{mail.AddField{Name: "X", Body: "1"}}, Untrusted(in.Content.Header(), ourID, nil)...)
	want := "From a@b.example Mon Jan  1 00:00:00 2024\r\nX: 1\r\nSubject: a\r\n\r\nbody\r\n"
	if got := rewrittenBy(t, in.Content, edits); got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestForgedNames: however the name of the field is spelled that some reader may take for it, ours go; and what only has
// a name like it stays, above all ARC's (RFC 8617 4.1.1), whose octets are sealed.
func TestForgedNames(t *testing.T) {
	for _, c := range []struct {
		name, field string
		want        bool
	}{
		{"plain", "Authentication-Results: ID; dkim=pass", true},
		{"capitals", "AUTHENTICATION-RESULTS:ID; dkim=pass", true},
		{"blank before the colon", "Authentication-Results : ID; dkim=pass", true},
		{"tab before the colon", "authentication-results\t: ID; dkim=pass", true},
		{"fold before the colon", "Authentication-Results\r\n : ID; dkim=pass", true},
		{"fold within", "Authentication-\r\n Results: ID; dkim=pass", true},
		{"body on the next line", "Authentication-Results:\r\n ID; dkim=pass", true},
		{"vertical tab", "Authentication-Results\v: ID; dkim=pass", true},
		{"control within", "Authentication\x01-Results: ID; dkim=pass", true},
		{"no-break space", "Authentication-Results\u00a0: ID; dkim=pass", true},
		{"zero width space", "Authentication\u200b-Results: ID; dkim=pass", true},
		{"byte order mark", "\ufeffAuthentication-Results: ID; dkim=pass", true},
		{"ARC", "ARC-Authentication-Results: i=1; ID; dkim=pass", false},
		{"ARC with a blank", "ARC-Authentication-Results : i=1; ID; dkim=pass", false},
		{"original", "X-Original-Authentication-Results: ID; dkim=pass", false},
		{"old", "Old-Authentication-Results: ID; dkim=pass", false},
		{"plural", "Authentication-Resultss: ID; dkim=pass", false},
		{"long s", "Authentication-Re\u017fults: ID; dkim=pass", true},
		{"i without a dot", "Authent\u0131cation-Results: ID; dkim=pass", true},
		{"I with a dot", "AUTHENT\u0130CATION-RESULTS: ID; dkim=pass", true},
		{"in a folded line", "X: a\r\n Authentication-Results: ID; dkim=pass", true},
		{"in a folded line, foreign", "X: a\r\n Authentication-Results: other.example; dkim=pass", false},
		{"in a list of names", "X-DKIM-Signature: h=From:\r\n Authentication-Results:Subject", false},
		{"another field that names us", "Received: by ID; dkim=pass", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			field := strings.ReplaceAll(c.field, "ID", ourID)
			in := input(t, "Subject: a\n"+strings.ReplaceAll(field, "\r\n", "\n")+"\nTo: b\n\nbody\n")
			edits := Untrusted(in.Content.Header(), ourID, nil)
			if got := len(edits) > 0; got != c.want {
				t.Fatalf("removed: %v", got)
			}
			want := "Subject: a\r\nTo: b\r\n\r\nbody\r\n"
			if !c.want {
				want = "Subject: a\r\n" + field + "\r\nTo: b\r\n\r\nbody\r\n"
			}
			if got := rewrittenBy(t, in.Content, edits); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func rewrittenBy(t *testing.T, c *mail.Content, edits []mail.Edit) string {
	t.Helper()
	m, err := mail.Rewrite(c, edits, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	var out strings.Builder
	if _, err := m.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
