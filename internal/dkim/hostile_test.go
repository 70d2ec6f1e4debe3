package dkim

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
)

// hostile are headers that cost a verifier much more than their size, if it looks things up by going through them. n is
// their size in steps: the work must grow with it and no faster.
var hostile = map[string]func(n int) []mail.Field{
	// 2 MB in one field at n = 1000.
	"folds": func(n int) []mail.Field {
		return []mail.Field{signatureOf("from:x-long"), from, {Name: "X-Long", Raw: "X-Long: a\r\n" + strings.Repeat(" b\r\n", 500*n)}}
	},
	// 20 000 names in h= at n = 1000, and as many fields.
	"names": func(n int) []mail.Field {
		return append([]mail.Field{signatureOf("from" + strings.Repeat(":x", 20*n-1)), from}, many(mail.Field{Name: "X", Raw: "X: b\r\n"}, 20*n)...)
	},
	// 20 000 names that no field has.
	"other names": func(n int) []mail.Field {
		var h strings.Builder
		for i := range 20*n - 1 {
			fmt.Fprintf(&h, ":x%d", i)
		}
		return []mail.Field{signatureOf("from" + h.String()), from}
	},
	// 2 000 signatures at n = 1000, each with a body hash of its own.
	"signatures": func(n int) []mail.Field {
		all := []mail.Field{from}
		for i := range 2 * n {
			f := signatureOf("from:subject")
			f.Raw = strings.Replace(f.Raw, "b=aaaa", fmt.Sprintf("l=%d; b=aaaa", i), 1)
			all = append(all, f)
		}
		return all
	},
	// A signature in folds of 2 MB.
	"folded signature": func(n int) []mail.Field {
		f := signatureOf("from")
		f.Raw = strings.Replace(f.Raw, "b=aaaa", "b=aa"+strings.Repeat("\r\n a", 500*n), 1)
		return []mail.Field{f, from}
	},
	// Tags without an end, each of another name.
	"tags": func(n int) []mail.Field {
		var raw strings.Builder
		raw.WriteString("DKIM-Signature: ")
		for i := range 250 * n {
			fmt.Fprintf(&raw, "a%d=b;", i)
		}
		return []mail.Field{{Name: "DKIM-Signature", Raw: raw.String() + "\r\n"}, from}
	},
}

var from = mail.Field{Name: "From", Raw: "From: ann@example.org\r\n"}

func many(f mail.Field, n int) []mail.Field {
	all := make([]mail.Field, n)
	for i := range all {
		all[i] = f
	}
	return all
}

func signatureOf(names string) mail.Field {
	return mail.Field{Name: "DKIM-Signature", Raw: "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=ed; bh=" +
		base64.StdEncoding.EncodeToString(emptyHash[:]) + "; b=aaaa; h=" + names + "\r\n"}
}

var emptyHash = func() [32]byte {
	s := &Bodies{}
	s.Want(Relaxed, Whole)
	if err := s.Hash(bytes.NewReader(nil)); err != nil {
		panic(err)
	}
	sum, _ := s.Sum(Relaxed, Whole)
	return sum.Sum
}()

// verifyHostile verifies a header with a body of nothing, or, where limits of it are signed, one as long as they reach.
func verifyHostile(b testing.TB, header []mail.Field, r Resolver) {
	var body []byte
	if strings.Contains(header[len(header)-1].Raw, " l=") {
		body = bytes.Repeat([]byte("y"), len(header))
	}
	got, err := Verify(b.Context(), NewFields(header), bytes.NewReader(body), Options{Resolver: r})
	if err != nil || len(got) == 0 {
		b.Fatalf("%d results, %v", len(got), err)
	}
	for _, c := range got {
		if c.Result == Pass || c.Result == "" {
			b.Fatalf("got %+v", c)
		}
	}
}

// BenchmarkHostile shows that the time per octet does not grow with the size: compare the MB/s of each pair.
func BenchmarkHostile(b *testing.B) {
	keys := published(b)
	for _, kind := range []string{"folds", "names", "other names", "signatures", "folded signature", "tags"} {
		for _, n := range []int{100, 1000} {
			header := hostile[kind](n)
			size := 0
			for _, f := range header {
				size += len(f.Raw)
			}
			b.Run(fmt.Sprintf("%s/%dKB", strings.ReplaceAll(kind, " ", "-"), size/1000), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					verifyHostile(b, header, keys)
				}
			})
		}
	}
}

// worked gives how long the processor has worked for this process.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestHostileIsLinear: ten times as much takes some ten times as long, and far less than the hundred times of a search
// for each. The least of several runs counts, and the time that the processor worked for us, for others use the machine too.
func TestHostileIsLinear(t *testing.T) {
	keys := published(t)
	for kind, make := range hostile {
		least := func(n, times int) time.Duration {
			header, best := make(n), time.Hour
			for range 5 {
				before := worked(t)
				for range times {
					verifyHostile(t, header, keys)
				}
				best = min(best, worked(t)-before)
			}
			return best
		}
		small, large := least(100, 10), least(1000, 1)
		if large > 4*small+20*time.Millisecond {
			t.Errorf("%s: %s, and %s of ten times as much", kind, small/10, large)
		}
		if large > 10*time.Second {
			t.Errorf("%s: %s", kind, large)
		}
	}
}
