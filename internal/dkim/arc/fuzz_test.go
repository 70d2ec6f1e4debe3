package arc

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
)

// FuzzChain validates whatever stands in a header, seals it, and validates that: a set of ours on a chain that passes, or on
// none, passes; on any other it does not.
func FuzzChain(f *testing.F) {
	header, _, _ := strings.Cut(chained(f, plain, 2, "a.example", "b.example"), "\r\n\r\n")
	f.Add(header)
	f.Add(strings.Replace(header, "cv=pass", "cv=fail", 1))
	f.Add(strings.Replace(header, "Tea", "Coffee", 1))
	f.Add(strings.ReplaceAll(header, "i=2;", "i=50;"))
	f.Add("ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.example; s=s; b=eA==\r\nARC-Message-Signature: i=1; h=\r\nARC-Authentication-Results: i=1; x; none")
	f.Add("arc-seal : i=51\r\nFrom: x")
	f.Add("ARC-Authentication-Results: i=01 (;) ; x")
	f.Add("From: x@y")
	keys := keyRecords("a.example", "b.example")
	f.Fuzz(func(t *testing.T, header string) {
		message := header + "\r\n\r\nbody\r\n"
		m := material(t, message)
		fields := m.Fields.All()
		for i := range fields {
			if fields[i].Name == "" || strings.HasPrefix(header, " ") || strings.HasPrefix(header, "\t") {
				return // what is put on top would run into what follows, or the header ends elsewhere for others
			}
		}
		chain := validate(t, message, keys)
		if (chain.Status == None) == Present(m.Fields.All()) {
			t.Fatalf("%s", chain.Status)
		}
		if len(chain.Sets) > MaxSets || chain.Status == Pass && len(chain.Sets) == 0 || (chain.Reason == "") != (chain.Status == Pass || chain.Status == None) {
			t.Fatalf("%s, %q, %d sets", chain.Status, chain.Reason, len(chain.Sets))
		}
		for i := range chain.Sets {
			s := &chain.Sets[i]
			if chain.Status == Pass && (s.AuthResults.Raw == "" || s.Signature.Raw == "" || s.Seal.Raw == "" || s.SealDomain() == "") {
				t.Fatalf("passes with set %d: %+v", i+1, s)
			}
			s.Covers("from")
			s.Intact("from")
			ParseAuthResults(body(&mail.Field{Raw: "x:" + s.AuthResults.Raw}))
		}
		set, err := sealerOf("b.example").Seal(m.Fields, hashed(t, message), chain.Status, "mx.b.example; none")
		if errors.Is(err, ErrEnded) || errors.Is(err, ErrFull) {
			if chain.Status != Fail && len(chain.Sets) < MaxSets {
				t.Fatalf("%s: %v", chain.Status, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		want := Pass
		if chain.Status == Fail {
			want = Fail
		}
		if again := validate(t, put(set, message), keys); again.Status != want {
			t.Fatalf("%s, and sealed %s: %s", chain.Status, again.Status, again.Reason)
		}
	})
}

// The work grows with the octets, whichever they are: the sets, what the message signatures cover, what the seals cover.
//
//	go test -run - -bench Chain ./internal/dkim/arc
func BenchmarkChain(b *testing.B) {
	line := "\r\n " + strings.Repeat("x", 70)
	for _, sets := range []int{1, 10, 50} {
		for _, kind := range []string{"plain", "signed", "sealed"} {
			for _, octets := range []int{1 << 10, 1 << 20, 2 << 20} {
				fill := strings.Repeat(line, octets/len(line))
				message, results := plain, "mx; none"
				switch kind {
				case "plain":
					if octets > 1<<10 {
						continue
					}
				case "signed":
					message = "Subject: a" + fill + "\r\n" + without(plain, "Subject", 0)
				case "sealed":
					results = "mx; spf=none (" + strings.Repeat(line, octets/len(line)/sets) + ")"
				}
				b.Run(fmt.Sprintf("%s/sets=%d/octets=%d", kind, sets, octets), func(b *testing.B) {
					keys := keyRecords("a.example")
					for i := range sets {
						came := Pass
						if i == 0 {
							came = None
						}
						message = seal(b, message, sealerOf("a.example"), came, results)
					}
					m := material(b, message)
					b.SetBytes(int64(len(message)))
					b.ReportAllocs()
					for b.Loop() {
						chain, err := Validate(b.Context(), m, Options{Resolver: keys})
						if err != nil || chain.Status != Pass {
							b.Fatal(chain.Status, chain.Reason, err)
						}
					}
				})
			}
		}
	}
}
