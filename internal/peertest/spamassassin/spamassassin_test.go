package spamassassin

import (
	"bytes"
	"testing"
)

const letter = "From: Ann <ann@client.test>\nTo: bob@bench.test\nSubject: a letter\nDate: Mon, 23 Nov 2026 09:00:00 +0000\n" +
	"Message-ID: <1@client.test>\n\nSee http://www.example.com/a for more.\n"

func TestJudge(t *testing.T) {
	j := Start(t)
	if j.Version == "" {
		t.Error("it has no version")
	}
	v, err := j.Judge([]byte(letter))
	if err != nil {
		t.Fatal(err)
	}
	if v.Hits["__HAS_FROM"] != 1 || v.Hits["NO_RELAYS"] != 1 || v.Hits["MISSING_FROM"] != 0 {
		t.Errorf("it hits %v", v.Hits)
	}
	s, err := j.Show([]byte(letter), "From:addr", "Cc")
	if err != nil {
		t.Fatal(err)
	}
	if from := s.Get["From:addr"]; from == nil || string(*from) != "ann@client.test" {
		t.Errorf("From:addr is %v", from)
	}
	if cc, asked := s.Get["Cc"]; cc != nil || !asked {
		t.Errorf("Cc is %q, %v", cc, asked)
	}
	if len(s.Show.Body) != 2 || string(s.Show.Body[0]) != "a letter\n" {
		t.Errorf("the body is %q", s.Show.Body)
	}
	if !bytes.Equal(bytes.Join(s.Show.Full, nil), []byte(letter)) {
		t.Errorf("the whole is %q", s.Show.Full)
	}
	if _, err := j.Judge(nil); err != nil {
		t.Errorf("an empty message: %v", err)
	}
}

func TestRulesAndMatches(t *testing.T) {
	j := Start(t)
	rules, err := j.Rules()
	if err != nil {
		t.Fatal(err)
	}
	if r := rules["__HAS_FROM"]; r.Type != "header" || len(rules) < 2000 {
		t.Errorf("%d rules, of which one is %+v", len(rules), r)
	}
	name := ""
	for n, r := range rules {
		if r.Type == "body" && len(r.Pattern) > 0 && (name == "" || n < name) {
			name = n
		}
	}
	counts, err := j.Matches([]Match{{name, []byte("")}, {"NO_SUCH_RULE", []byte("x")}})
	if err != nil || len(counts) != 2 || counts[0] != 0 || counts[1] != -1 {
		t.Errorf("%s matches %v, %v", name, counts, err)
	}
	plugins, err := j.Plugins()
	if err != nil || len(plugins) < 20 {
		t.Errorf("plugins: %v, %v", plugins, err)
	}
}

func TestPrepare(t *testing.T) {
	for _, c := range []struct {
		name, raw, lf string
		ok            bool
	}{
		{"as it is", "A: b\r\n\r\nc\r\n", "A: b\n\nc\n", true},
		{"of a mailbox", "From ann@client.test Mon Nov 23 09:00:00 2026\nA: b\n\nc\n", "A: b\n\nc\n", true},
		{"bare CR", "A: b\n\nc\rd\n", "A: b\n\nc d\n", true},
		{"NUL", "A: b\n\nc\x00\n", "", false},
	} {
		if m, ok := Prepare(c.name, []byte(c.raw)); ok != c.ok || string(m.LF) != c.lf {
			t.Errorf("%s: %q, %v", c.name, m.LF, ok)
		}
	}
}
