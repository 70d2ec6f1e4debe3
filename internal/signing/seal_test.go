package signing

import (
	"errors"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/dkim/arc"
	"github.com/postern-mail/postern/mail"
)

// Mail from elsewhere is sealed and not signed; that of clients which may relay is signed and not sealed. Where there
// is no key for it, nothing is said.
func TestWhatIsSigned(t *testing.T) {
	key := Key{Domain: "example.org", Selector: "s1", Private: edKey()}
	const content = "Authentication-Results: mx.example.org; none\r\nFrom: ann@example.org\r\n\r\nbody\r\n"
	for _, tt := range []struct {
		name  string
		o     Options
		relay bool
		note  string
	}{
		{"both, relay", Options{Keys: []Key{key}, Seal: &key}, true, "dkim example.org/s1"},
		{"both, from elsewhere", Options{Keys: []Key{key}, Seal: &key}, false, "arc example.org/s1"},
		{"keys, from elsewhere", Options{Keys: []Key{key}}, false, ""},
		{"seal, relay", Options{Seal: &key}, true, ""},
		{"nothing", Options{}, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			left, note := leave(t, s, input(tt.relay, auth.ARC.Of(auth.ARCResult{Result: auth.None})), content)
			if note != tt.note || (left == content) != (note == "") {
				t.Errorf("note %q, left\n%s", note, left)
			}
		})
	}
}

// A message is sealed again and again, each time by another gateway; what one of them changes in between, the next
// finds.
func TestSeal(t *testing.T) {
	one := Key{Domain: "one.example", Selector: "a1", Private: rsaKey()}
	two := Key{Domain: "two.example", Selector: "a2", Private: edKey()}
	z := publish(t, one, two)
	validate := func(content string) *arc.Chain {
		t.Helper()
		c := mail.NewContent(mail.NewBlob([]byte(content)), mail.LineFaults{}, mail.Limits{})
		defer c.Release()
		m, err := dkim.MaterialOf(c)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := arc.Validate(t.Context(), m, arc.Options{Resolver: z})
		if err != nil {
			t.Fatal(err)
		}
		return chain
	}
	// pass is what a gateway does: it validates, puts its field on top, and seals.
	pass := func(k Key, content string) (string, string) {
		t.Helper()
		s, err := New(Options{Seal: &k})
		if err != nil {
			t.Fatal(err)
		}
		came := auth.ARCResult{Result: auth.Result(validate(content).Status)}
		return leave(t, s, input(false, auth.ARC.Of(came)), "Authentication-Results: "+k.Domain+";\r\n\tspf=pass smtp.mailfrom=a.example\r\nReceived: x\r\n"+content)
	}
	first, note := pass(one, "From: ann@a.example\r\nSubject: x\r\n\r\nbody\r\n")
	if note != "arc one.example/a1" || !strings.HasPrefix(first, "ARC-Seal: ") ||
		!strings.Contains(first, "\r\nARC-Authentication-Results: i=1; one.example;\r\n\tspf=pass smtp.mailfrom=a.example\r\nAuthentication-Results: one.example;") {
		t.Fatalf("note %q\n%s", note, first)
	}
	second, _ := pass(two, first)
	if c := validate(second); c.Status != arc.Pass || len(c.Sets) != 2 || c.Oldest != 0 {
		t.Errorf("after two: %+v\n%s", c, second)
	}
	third, _ := pass(one, strings.Replace(second, "body", "b0dy", 1))
	if c := validate(third); c.Status != arc.Fail || len(c.Sets) != 3 || !strings.Contains(third, "cv=fail") {
		t.Errorf("after a change between two gateways: %+v\n%s", c, third)
	}
	if fourth, note := pass(two, third); note != "not sealed: the chain was sealed as failed before" || strings.Contains(fourth, "i=4") {
		t.Errorf("note %q\n%s", note, fourth)
	}
}

func TestNotSealed(t *testing.T) {
	key := Key{Domain: "one.example", Selector: "a1", Private: edKey()}
	s, err := New(Options{Seal: &key})
	if err != nil {
		t.Fatal(err)
	}
	const results, content = "Authentication-Results: mx; none\r\n", "From: ann@a.example\r\n\r\nbody\r\n"
	none := auth.ARC.Of(auth.ARCResult{Result: auth.None})
	for _, tt := range []struct {
		name, content, note string
		facts               []filter.Fact
	}{
		{"nobody has looked", results + content, "not sealed: the filter arc did not run", nil},
		{"the DNS was silent", results + content, "not sealed: the chain could not be looked at", []filter.Fact{auth.ARC.Of(auth.ARCResult{Result: auth.TempError})}},
		{"no results", content, "not sealed: there are no results", []filter.Fact{none}},
		{"a line that is no field", results + "nonsense\r\n" + content, "not sealed: a line in the header that is no field", []filter.Fact{none}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if left, note := leave(t, s, input(false, tt.facts...), tt.content); left != tt.content || note != tt.note {
				t.Errorf("note %q, left\n%s", note, left)
			}
		})
	}
}

// A seal that is due and can't be made is an error.
func TestSealErrors(t *testing.T) {
	s, err := New(Options{Seal: &Key{Domain: "one.example", Selector: "a1", Private: brokenKey{edKey()}}})
	if err != nil {
		t.Fatal(err)
	}
	m := mail.NewMessage(mail.NewBlob([]byte("Authentication-Results: mx; none\r\nFrom: ann@example.org\r\n\r\nbody\r\n")))
	defer m.Release()
	none := auth.ARC.Of(auth.ARCResult{Result: auth.None})
	if top, note, err := s.Sign(t.Context(), input(false, none), m); !errors.Is(err, errBroken) || top != nil || note != "" {
		t.Errorf("%q, %q, %v", top, note, err)
	}
}

// BenchmarkSeal is what sealing adds to the delivery of a message of 1 MB.
func BenchmarkSeal(b *testing.B) {
	none := auth.ARC.Of(auth.ARCResult{Result: auth.None})
	benchmark(b, Options{Seal: &Key{Domain: "example.org", Selector: "s1", Private: rsaKey()}}, input(false, none))
}
