package arc

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// without removes the ARC fields whose names begin so and whose instance is n, 0 for any.
func without(message, name string, n int) string {
	var b strings.Builder
	for _, f := range regexp.MustCompile(`(?m)^[^ \t].*\r\n(?:[ \t].*\r\n)*|^\r\n`).FindAllString(message, -1) {
		if !strings.HasPrefix(f, name) || n > 0 && !strings.Contains(f, fmt.Sprintf("i=%d;", n)) {
			b.WriteString(f)
		}
	}
	return b.String()
}

func TestChain(t *testing.T) {
	const a, b, c = "a.example", "b.example", "c.example"
	keys := keyRecords(a, b, c)
	one, three := chained(t, plain, 1, a), chained(t, plain, 3, a, b, c)
	list := strings.Replace(one, "Subject: Tea", "Subject: [list] Tea", 1)
	two := seal(t, list, sealerOf(b), Pass, "mx.b.example; dmarc=fail header.from=example.com")
	signed := func(s *Sealer) string { return seal(t, plain, s, None, "mx.a.example; none") }
	partial := strings.Replace(one, "c=relaxed/relaxed;", "c=relaxed/relaxed; l=3;", 1)
	for _, x := range []struct {
		name, message string
		status        Status
		reason        string
		oldest        int
	}{
		{"none", plain, None, "", 0},
		{"one", one, Pass, "", 0},
		{"three", three, Pass, "", 0},
		{"three, above other fields", "Received: from x\r\n" + three, Pass, "", 0},
		{"a list has changed it", two, Pass, "", 2},
		{"changed after the last seal", strings.Replace(three, "Tea", "Coffee", 1), Fail, "the message signature of instance 3: the signature does not match", 0},
		{"body changed", three + "P.S.\r\n", Fail, "the message signature of instance 3: the body does not match bh=", 0},
		{"another From on top", "From: boss@example.com\r\n" + one, Fail, "the message signature of instance 1: the signature does not match", 0},
		{"results changed", strings.Replace(three, "mx.a.example; dmarc=pass", "mx.a.example; dmarc=fail", 1), Fail, "the seal of instance 3: the signature does not match", 0},
		{"sealed with another's name", strings.Replace(one, "cv=none; d=a.example", "cv=none; d=b.example", 1), Fail, "the seal of instance 1: the signature does not match", 0},
		{"no seal", without(one, "ARC-Seal", 0), Fail, "instance 1 of 1 has no ARC-Seal", 0},
		{"no results", without(one, "ARC-Auth", 0), Fail, "instance 1 of 1 has no ARC-Authentication-Results", 0},
		{"no message signature", without(one, "ARC-Message", 0), Fail, "instance 1 of 1 has no ARC-Message-Signature", 0},
		{"a gap", without(three, "ARC-", 2), Fail, "instance 2 of 3 has no ARC-Authentication-Results", 0},
		{"the first set taken off", without(three, "ARC-", 1), Fail, "instance 1 of 3 has no ARC-Authentication-Results", 0},
		{"a field twice", "ARC-Authentication-Results: i=1; evil.example; none\r\n" + one, Fail, "two fields ARC-Authentication-Results of instance 1", 0},
		{"a field without an instance", "ARC-Authentication-Results: evil.example; none\r\n" + one, Fail, "ARC-Authentication-Results without an instance", 0},
		{"only a field without an instance", "ARC-Seal: a=b\r\n" + plain, Fail, "ARC-Seal without an instance", 0},
		{"first seal says pass", strings.Replace(one, "cv=none", "cv=pass", 1), Fail, "the seal of instance 1 does not say cv=none", 0},
		{"second seal says none", strings.Replace(two, "cv=pass", "cv=none", 1), Fail, "the seal of instance 2 does not say cv=pass", 0},
		{"cv in capitals", strings.Replace(two, "cv=pass", "cv=PASS", 1), Fail, "the seal of instance 2 does not say cv=pass", 0},
		{"seal with h=", strings.Replace(one, "cv=none;", "cv=none; h=from;", 1), Fail, "the seal of instance 1: a seal has no h=", 0},
		{"message signature names ARC-Seal", signed(&Sealer{Domain: a, Selector: "s", Key: keyOf(a), Names: []string{"From", "ARC-Seal"}}), Fail, "the message signature of instance 1: h= names ARC-Seal", 0},
		{"message signature names little", signed(&Sealer{Domain: a, Selector: "s", Key: keyOf(a), Names: []string{"Subject"}}), Pass, "", 0},
		{"broken tag list", strings.Replace(one, "cv=none;", "cv=none;;", 1), Fail, "ARC-Seal: an empty tag", 0},
		{"l= was added", partial, Fail, "the message signature of instance 1: the body does not match bh=", 0},
		{"instance 51", "ARC-Seal: i=51; cv=pass\r\n" + one, Fail, "there are more than 50 sets", 0},
		{"no key", signed(&Sealer{Domain: "nowhere.example", Selector: "s", Key: keyOf(a)}), Fail, "the message signature of instance 1: there is no key", 0},
	} {
		got := validate(t, x.message, keys)
		if got.Status != x.status || !strings.HasPrefix(got.Reason, x.reason) || x.reason == "" && got.Reason != "" || got.Oldest != x.oldest {
			t.Errorf("%s: got %s, oldest %d, %q; want %s, %d, %q", x.name, got.Status, got.Oldest, got.Reason, x.status, x.oldest, x.reason)
		}
	}
}

// Whoever takes the last set off a message that was not changed since has the chain that was there before.
func TestChainGrowsAtItsEnd(t *testing.T) {
	three := chained(t, plain, 3, "a.example", "b.example")
	got := validate(t, without(three, "ARC-", 3), keyRecords("a.example", "b.example"))
	if got.Status != Pass || len(got.Sets) != 2 || got.Sets[1].SealDomain() != "b.example" {
		t.Errorf("got %+v", got)
	}
}

// A chain that was found broken is sealed so, by its own set only, and ends there.
func TestBrokenChainIsSealedOnce(t *testing.T) {
	keys := keyRecords("a.example", "b.example")
	broken := strings.Replace(chained(t, plain, 2, "a.example"), "Tea", "Coffee", 1)
	message := seal(t, broken, sealerOf("b.example"), Fail, "mx.b.example; arc=fail")
	got := validate(t, message, keys)
	if got.Status != Fail || got.Reason != "sealed as failed by b.example" || len(got.Sets) != 3 {
		t.Fatalf("got %+v", got)
	}
	// As if there were no other set: its seal holds over its own fields alone.
	own := &got.Sets[2]
	check, err := dkim.ParseSignature(own.Seal, dkim.ARCSeal)
	if err != nil {
		t.Fatal(err)
	}
	key, err := dkim.FetchKey(t.Context(), keys, check.Selector, check.Domain)
	if err == nil {
		err = key.Verify(check.Algorithm, sealed([]Set{*own})[0], check.Value)
	}
	if err != nil {
		t.Errorf("the seal of a failed chain: %v", err)
	}
	m := material(t, message)
	if set, err := sealerOf("a.example").Seal(m.Fields, hashed(t, message), Fail, "mx; none"); !errors.Is(err, ErrEnded) {
		t.Errorf("sealed again: %v, %v", set, err)
	}
}

func TestSealing(t *testing.T) {
	one := chained(t, plain, 1, "a.example")
	full := chained(t, plain, MaxSets, "a.example")
	for _, x := range []struct {
		name, message string
		came          Status
		cv            string // of the new seal, with its instance; "" for none
		err           error
	}{
		{"first", plain, None, "1 none", nil},
		{"first, not looked at", plain, "", "1 none", nil},
		{"second", one, Pass, "2 pass", nil},
		{"failed", one, Fail, "2 fail", nil},
		{"came without, and leaves with a chain", one, None, "2 fail", nil},
		{"came whole, and leaves broken", without(one, "ARC-Seal", 0), Pass, "2 fail", nil},
		{"only an unreadable field", "ARC-Seal: x\r\n" + plain, Fail, "1 fail", nil},
		{"not looked at", one, "", "", ErrUnknown},
		{"no answer from the DNS", one, TempError, "", ErrUnknown},
		{"full", full, Pass, "", ErrFull},
		{"full and broken", full, Fail, "", ErrFull},
		{"claims more than there may be", "ARC-Seal: i=51; cv=pass\r\n" + one, Fail, "", ErrFull},
	} {
		m := material(t, x.message)
		set, err := sealerOf("b.example").Seal(m.Fields, hashed(t, x.message), x.came, "mx.b.example; none")
		if !errors.Is(err, x.err) {
			t.Errorf("%s: %v, want %v", x.name, err, x.err)
		}
		if x.cv == "" {
			continue
		}
		if len(set) != 3 || set[0].Name != fieldSeal || set[1].Name != fieldSignature || set[2].Name != fieldAuthResults {
			t.Errorf("%s: got %v", x.name, set)
			continue
		}
		tags, err := dkim.ParseTags(set[0].Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := tags.Compact("i") + " " + tags.Compact("cv"); got != x.cv {
			t.Errorf("%s: got %s, want %s", x.name, got, x.cv)
		}
	}
	if got := validate(t, full, keyRecords("a.example")); got.Status != Pass || got.Oldest != MaxSets-maxOlder {
		t.Errorf("50 sets: %s, oldest %d, %s", got.Status, got.Oldest, got.Reason)
	}
}

// What a set looks like: lines of at most 78 octets, all fields of the RFC's choice covered.
func TestSealedForm(t *testing.T) {
	message := "Authentication-Results: x; none\r\nDKIM-Signature: v=1; x=y\r\nReceived: from x\r\nReturn-Path: <a@b>\r\n" + chained(t, plain, 1, "a.example")
	m := material(t, message)
	s := sealerOf("a." + strings.Repeat("long.", 20) + "example")
	set, err := s.Seal(m.Fields, hashed(t, message), Pass, " mx.a.example;\r\n\tdmarc=pass header.from=example.com\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range set {
		for line := range strings.SplitSeq(strings.TrimSuffix(raw(f), "\r\n"), "\r\n") {
			if len(line) > maxLine && !strings.Contains(line, s.Domain) {
				t.Errorf("a line of %d octets: %q", len(line), line)
			}
		}
	}
	for _, f := range set {
		// RFC 8617 4.1.1, 4.1.2, 4.1.3: the instance comes first.
		if !strings.HasPrefix(f.Body, "i=2;") {
			t.Errorf("%s: %s", f.Name, f.Body)
		}
	}
	tags, err := dkim.ParseTags(set[1].Body)
	if err != nil {
		t.Fatal(err)
	}
	h := ":" + tags.Compact("h") + ":"
	for _, name := range []string{"from", "to", "subject", "date", "message-id", "dkim-signature", "content-type"} {
		if !strings.Contains(h, ":"+name+":") {
			t.Errorf("h=%s lacks %s", h, name)
		}
	}
	// RFC 8617 4.1.2: not those; and trace fields change on the way.
	for _, name := range []string{"authentication-results", "arc-", "received", "return-path"} {
		if strings.Contains(h, ":"+name) {
			t.Errorf("h=%s has %s", h, name)
		}
	}
	if set[2].Body != "i=2; mx.a.example;\r\n\tdmarc=pass header.from=example.com" {
		t.Errorf("results %q", set[2].Body)
	}
}

func TestTemporaryErrors(t *testing.T) {
	message := chained(t, plain, 3, "a.example", "b.example", "c.example")
	for _, d := range []string{"a.example", "b.example", "c.example"} {
		keys := keyRecords("a.example", "b.example", "c.example")
		keys["s._domainkey."+d] = "!"
		if got := validate(t, message, keys); got.Status != TempError {
			t.Errorf("no answer for %s: %s, %s", d, got.Status, got.Reason)
		}
	}
	// The oldest message signature decides nothing, so neither does its key.
	keys := keyRecords("a.example", "b.example")
	keys["t._domainkey.a.example"] = "!"
	odd := sealerOf("a.example")
	set, err := odd.Seal(material(t, plain).Fields, hashed(t, plain), None, "mx; none")
	if err != nil {
		t.Fatal(err)
	}
	set[1].Body = strings.Replace(set[1].Body, "s=s;", "s=t;", 1)
	if set[0].Body, err = resealed(odd, set[2:], set[1], None); err != nil {
		t.Fatal(err)
	}
	message = seal(t, put(set, plain), sealerOf("b.example"), Pass, "mx; none")
	if got := validate(t, message, keys); got.Status != Pass || got.Oldest != 2 {
		t.Errorf("got %s, oldest %d, %s", got.Status, got.Oldest, got.Reason)
	}
}

func TestContextEnds(t *testing.T) {
	message := chained(t, plain, 2, "a.example")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Validate(ctx, material(t, message), Options{Resolver: keyRecords("a.example")}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestExpired(t *testing.T) {
	message := chained(t, plain, 1, "a.example")
	message = strings.Replace(message, "c=relaxed/relaxed;", fmt.Sprintf("c=relaxed/relaxed; x=%d;", clock.Add(time.Hour).Unix()), 1)
	m := material(t, message)
	for _, now := range []time.Time{clock, clock.Add(2 * time.Hour)} {
		got, err := Validate(t.Context(), m, Options{Resolver: keyRecords("a.example"), Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if expired := strings.Contains(got.Reason, "expired"); expired != now.After(clock) {
			t.Errorf("at %s: %s", now, got.Reason)
		}
	}
}

// Who needs more keys than anybody has sealers is not asked about them.
func TestTooManyKeys(t *testing.T) {
	var domains []string
	for i := range maxKeys + 1 {
		domains = append(domains, fmt.Sprintf("d%d.example", i))
	}
	keys := keyRecords(domains...)
	for n, want := range map[int]Status{maxKeys: Pass, maxKeys + 1: Fail} {
		if got := validate(t, chained(t, plain, n, domains...), keys); got.Status != want {
			t.Errorf("%d keys: %s, %s", n, got.Status, got.Reason)
		}
	}
}
